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
    y, slope = xp.empty_like(x), xp.empty_like(x)
    x_all, y_all, slope_all = x.reshape(-1), y.reshape(-1), slope.reshape(-1)
    for block in cache_blocks(x.size, x.itemsize, xp):
        x, y_block, slope_block = x_all[block], y_all[block], slope_all[block]
        x2 = x * x
        u = x * (_SQRT_2_OVER_PI + (_SQRT_2_OVER_PI * _CUBIC) * x2)
        t = xp.tanh(u, out=u)
        phi = 0.5 + 0.5 * t
        xp.multiply(x, phi, out=y_block)
        half_u_slope = 0.5 * _SQRT_2_OVER_PI + (1.5 * _SQRT_2_OVER_PI * _CUBIC) * x2
        # y' = phi + x * (1 - t^2) * u' / 2
        xp.add(phi, x * (1.0 - t * t) * half_u_slope, out=slope_block)
    return y, GeluCache(slope)


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
