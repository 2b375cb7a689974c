"""Identifies weights in twelve characters, which a result or an adapter keeps of the model that it belongs to."""

from collections.abc import Iterable, Mapping

from minilora.arrays.backend import Array, to_numpy
from minilora.files import fingerprint
from minilora.parameter import Module


def weights_hash(model: Module) -> str:
    """12 hex digits that change when any parameter of a model does; see `arrays_hash`."""
    return arrays_hash((name, p.data) for name, p in model.named_parameters())


def arrays_hash(arrays: Mapping[str, Array] | Iterable[tuple[str, Array]]) -> str:
    """12 hex digits that change when a name, a shape or a value does: a prefix of a SHA-256.

    Values are hashed as float32, so that a model has the same hash whether it is loaded in float64 or float32.

    Parameters
    ----------
    arrays : dict of str to ndarray, or iterable of (str, ndarray)
        On either device. Of an iterable, one array at a time is in memory.
    """
    items = arrays.items() if isinstance(arrays, Mapping) else arrays
    return fingerprint((name, to_numpy(a).astype("float32", copy=False)) for name, a in items)[:12]
