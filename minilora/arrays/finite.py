"""Finds arrays that hold an infinity or a NaN, such as the weights after a training that diverged."""

from collections.abc import Mapping
from typing import Any

from minilora.arrays.backend import get_xp, to_numpy

SHOWN = 3  # names


def not_finite(arrays: Mapping[str, Any]) -> str:
    """The names of the first arrays that hold an infinity or a NaN, as text; empty if all are finite.

    Parameters
    ----------
    arrays : dict of str to ndarray
        All on one device; the host waits for it once. Integers count as finite.
    """
    if not arrays:
        return ""
    xp = get_xp(*arrays.values())
    finite = to_numpy(xp.stack([xp.isfinite(array).all() for array in arrays.values()]))
    odd = [name for name, good in zip(arrays, finite, strict=True) if not good]
    return ", ".join(odd[:SHOWN]) + (f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else "")


def check_finite(arrays: Mapping[str, Any], what: object) -> None:
    """Raise a ValueError unless all arrays are finite.

    Parameters
    ----------
    arrays : dict of str to ndarray
    what : str or Path
        What holds them, for the message, such as "runs/mine/adapter.safetensors".
    """
    if odd := not_finite(arrays):
        raise ValueError(f"{what}: {odd} has values that are infinite or NaN; all must be finite")
