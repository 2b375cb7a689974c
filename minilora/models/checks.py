"""Checks of a model's inputs: precisions, and that the arrays of a batch are what `forward` and `loss` take."""

from typing import Any

import numpy

from minilora.arrays.backend import Array, get_xp, on_host


def check_precision(dtype: Any) -> None:
    """Raise a ValueError unless it is float32 or float64; float16 is for files only, and too coarse to compute with."""
    if dtype is None or dtype not in ("float32", "float64"):
        raise ValueError(
            f"dtype was {dtype!r}; it must be 'float32' or 'float64' (a float16 file is computed in float32)"
        )


def check_stored_precision(dtype: Any) -> None:
    """Raise a ValueError unless numbers can be rounded to it in a file: float16, float32 or float64."""
    if dtype is None or dtype not in ("float16", "float32", "float64"):
        raise ValueError(f"dtype was {dtype!r}; it must be 'float16', 'float32' or 'float64'")


def check_on_host(name: str, array: Any) -> None:
    """Raise an error unless `array` is a NumPy array."""
    if not isinstance(array, numpy.ndarray):
        if get_xp(**{name: array}) is not numpy:
            raise ValueError(f"{name} was on a device already; it must be a NumPy array")
        raise TypeError(f"{name} was {array!r}; it must be a NumPy array")


def check_field(name: str, array: Any, shape: tuple[int, ...], kind: str) -> None:
    """Raise an error unless a batch's field is a host array of this shape, of "integers", "booleans" or "floats"."""
    check_on_host(name, array)
    if array.shape != shape or array.dtype.kind not in {"integers": "iu", "booleans": "b", "floats": "f"}[kind]:
        raise ValueError(f"{name} had shape {array.shape} and dtype {array.dtype}; it must be {kind} of shape {shape}")


def check_ids(ids: Array, V: int) -> None:
    """Raise a ValueError unless ids are integers of shape (N, T); on the host also unless each is from 0 to V - 1."""
    if ids.ndim != 2 or ids.shape[1] < 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"ids had shape {ids.shape} and dtype {ids.dtype}; they must be integers of shape (N, T), T at least 1"
        )
    if on_host(ids) and ids.size and not (ids.min() >= 0 and ids.max() < V):
        raise ValueError(f"ids ran from {ids.min()} to {ids.max()}; each must be from 0 to {V - 1}")
