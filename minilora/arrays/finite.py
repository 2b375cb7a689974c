"""Arrays that hold an infinity or a NaN, by name: what came of a training that diverged."""

from collections.abc import Mapping
from typing import Any

from minilora.arrays.backend import get_xp, to_numpy

SHOWN = 3  # names


def not_finite(arrays: Mapping[str, Any]) -> str:
    """The names of the first arrays that hold an infinity or a NaN, as text; empty if all are finite.

    Parameters
    ----------
    arrays : dict of str to ndarray
        On either device. Integers are finite.
    """
    odd = [name for name, array in arrays.items() if not to_numpy(get_xp(array).isfinite(array).all())]
    return ", ".join(odd[:SHOWN]) + (f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else "")


def check_finite(arrays: Mapping[str, Any], what: object) -> None:
    """Raise a ValueError unless all arrays are finite.

    Parameters
    ----------
    arrays : dict of str to ndarray
    what : str or Path
        What holds them, for the message: "runs/mine/adapter.safetensors".
    """
    if odd := not_finite(arrays):
        raise ValueError(f"{what}: {odd} has values that are infinite or NaN; all must be finite")
