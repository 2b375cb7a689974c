"""GELU, y = x Phi(x), where Phi is the standard normal distribution function: exact, and GPT-2's tanh form.

Derivation. y' = Phi(x) + x Phi'(x).

    exact     Phi(x) = (1 + erf(x / sqrt 2)) / 2           Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)
    tanh      Phi(x) = (1 + t) / 2,  t = tanh(u)           Phi'(x) = (1 - t^2) u' / 2
              u = sqrt(2 / pi) (x + 0.044715 x^3)          u' = sqrt(2 / pi) (1 + 3 * 0.044715 x^2)

The forward keeps y' itself, so that the backward is one product.
"""

import math
from typing import Any, NamedTuple

from minilora.backend import cache_blocks, erf, get_xp

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


class GeluCache(NamedTuple):
    slope: Any  # y' at x, of x's shape


def gelu_tanh_forward(x):
    """GPT-2's GELU ("gelu_new"), elementwise on any shape. Returns y and a GeluCache."""
    xp = get_xp(x=x)
    flat, y, slope = x.reshape(-1), xp.empty(x.size, x.dtype), xp.empty(x.size, x.dtype)
    for block in cache_blocks(x.size, x.itemsize, xp):
        y[block], slope[block] = _gelu_tanh(xp, flat[block])
    return y.reshape(x.shape), GeluCache(slope.reshape(x.shape))


def _gelu_tanh(xp, x):
    """y and y' of GELU's tanh form."""
    x2 = x * x
    t = xp.tanh(_SQRT_2_OVER_PI * x * (1.0 + _CUBIC * x2))  # tanh(u)
    phi = 0.5 + 0.5 * t
    u_slope = _SQRT_2_OVER_PI * (1.0 + (3.0 * _CUBIC) * x2)  # u'
    return x * phi, phi + 0.5 * x * (1.0 - t * t) * u_slope


def gelu_tanh_backward(dy, cache):
    """dx = dy * y'"""
    return dy * cache.slope


def gelu_exact_forward(x):
    """The exact GELU, as BERT and RoBERTa have it, elementwise on any shape. Returns y and a GeluCache."""
    xp = get_xp(x=x)
    phi = 0.5 * (1.0 + erf(x * math.sqrt(0.5)))
    density = xp.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return x * phi, GeluCache(phi + x * density)


def gelu_exact_backward(dy, cache):
    """dx = dy * y'"""
    return dy * cache.slope
