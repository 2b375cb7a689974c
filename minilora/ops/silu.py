"""SiLU, y = x s(x) with the sigmoid s(x) = 1 / (1 + exp(-x)), also called Swish (Elfwing et al., 2017; Hendrycks and
Gimpel, 2016).

Derivation. s' = s (1 - s), so

    y' = s + x s (1 - s) = s (1 + x (1 - s))

The sigmoid is computed as s = (1 + tanh(x / 2)) / 2, which is the same number and cannot overflow. The forward keeps
y' itself: the backward is one product.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp


class SiluCache(NamedTuple):
    slope: Array  # y' at x, of x's shape


def silu_forward(x: Array) -> tuple[Array, SiluCache]:
    """y = x / (1 + exp(-x)), elementwise on any shape. Returns y and a SiluCache."""
    s = 0.5 * (1.0 + get_xp(x=x).tanh(0.5 * x))
    return x * s, SiluCache(s * (1.0 + x * (1.0 - s)))


def silu_backward(dy: Array, cache: SiluCache) -> Array:
    """dx = dy * y'"""
    return dy * cache.slope
