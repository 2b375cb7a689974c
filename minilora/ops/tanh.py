"""The hyperbolic tangent, y = tanh(x), with y' = 1 - y^2."""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp


class TanhCache(NamedTuple):
    y: Array


def tanh_forward(x: Array) -> tuple[Array, TanhCache]:
    """y = tanh(x), elementwise on any shape."""
    y = get_xp(x=x).tanh(x)
    return y, TanhCache(y)


def tanh_backward(dy: Array, cache: TanhCache) -> Array:
    """dx = dy * (1 - y^2)"""
    return dy * (1.0 - cache.y * cache.y)
