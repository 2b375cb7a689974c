"""The hyperbolic tangent, y = tanh(x), with y' = 1 - y^2."""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp


class TanhCache(NamedTuple):
    y: Any


def tanh_forward(x):
    """y = tanh(x), elementwise on any shape."""
    y = get_xp(x=x).tanh(x)
    return y, TanhCache(y)


def tanh_backward(dy, cache):
    """dx = dy * (1 - y^2)"""
    return dy * (1.0 - cache.y * cache.y)
