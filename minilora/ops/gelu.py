"""GELU, y = x Phi(x), where Phi is the standard normal distribution function: exact, and GPT-2's tanh form.

Derivation. y' = Phi(x) + x Phi'(x).

    exact     Phi(x) = (1 + erf(x / sqrt 2)) / 2           Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)
    tanh      Phi(x) = (1 + t) / 2,  t = tanh(u)           Phi'(x) = (1 - t^2) u' / 2
              u = sqrt(2 / pi) (x + 0.044715 x^3)          u' = sqrt(2 / pi) (1 + 3 * 0.044715 x^2)

The forward keeps y' itself, so that the backward is one product.
"""

import math
from typing import Any, NamedTuple

from minilora.backend import erf, get_xp

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


class GeluCache(NamedTuple):
    slope: Any  # y' at x, of x's shape


def gelu_tanh_forward(x):
    """GPT-2's GELU ("gelu_new"), elementwise on any shape. Returns y and a GeluCache."""
    xp = get_xp(x=x)
    x2 = x * x
    u = (_SQRT_2_OVER_PI * _CUBIC) * x2
    u += _SQRT_2_OVER_PI
    u *= x  # u = sqrt(2/pi) (x + 0.044715 x^3)
    t = xp.tanh(u, out=u)
    phi = 0.5 * t
    phi += 0.5
    y = x * phi
    # slope = phi + x * (1 - t^2) / 2 * u',   u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2)
    x2 *= 1.5 * _SQRT_2_OVER_PI * _CUBIC
    x2 += 0.5 * _SQRT_2_OVER_PI
    x2 *= x  # x u' / 2
    t *= t
    xp.subtract(1.0, t, out=t)
    x2 *= t
    x2 += phi
    return y, GeluCache(x2)


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
