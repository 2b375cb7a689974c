"""The rectified linear unit, y = max(x, 0), with slope 1 where x > 0 and 0 elsewhere (at 0 itself by convention)."""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array, get_xp


class ReluCache(NamedTuple):
    positive: Any  # booleans: where x > 0


def relu_forward(x: Array) -> tuple[Array, ReluCache]:
    """y = max(x, 0), elementwise on any shape."""
    return get_xp(x=x).maximum(x, 0.0), ReluCache(x > 0.0)


def relu_backward(dy: Array, cache: ReluCache) -> Array:
    """dx = dy where x > 0, and 0 elsewhere"""
    return dy * cache.positive
