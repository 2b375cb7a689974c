"""GELU, y = x Phi(x), where Phi is the standard normal distribution function: exact, and GPT-2's tanh form.

Derivation. y' = Phi(x) + x Phi'(x).

    exact     Phi(x) = (1 + erf(x / sqrt 2)) / 2           Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)
    tanh      Phi(x) = (1 + t) / 2,  t = tanh(u)           Phi'(x) = (1 - t^2) u' / 2 = 2 Phi (1 - Phi) u'
              u = sqrt(2 / pi) (x + 0.044715 x^3)          u' = sqrt(2 / pi) (1 + 3 * 0.044715 x^2)

so that for the tanh form y' = Phi + 2 y (1 - Phi) u'. The forward keeps y' itself: the backward is one product.
"""

import math
from typing import Any, NamedTuple

from minilora.arrays.backend import erf, get_xp
from minilora.arrays.chunks import elementwise
from minilora.arrays.kernels import fused

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


class GeluCache(NamedTuple):
    slope: Any  # y' at x, of x's shape


def gelu_tanh_forward(x):
    """GPT-2's GELU ("gelu_new"), elementwise on any shape. Returns y and a GeluCache."""
    y, slope = elementwise(_gelu_tanh, x)
    return y, GeluCache(slope)


@fused(
    "x[...] -> y[...], slope[...]",
    f"""
    const real a = {_SQRT_2_OVER_PI}, b = {_CUBIC};  // u = a (x + b x^3)
    const real x2 = x[i] * x[i];
    const real phi = (1 + tanh(a * x[i] * (1 + b * x2))) / 2;
    const real du = a * (1 + 3 * b * x2);
    y[i] = x[i] * phi;
    slope[i] = phi + 2 * x[i] * phi * (1 - phi) * du;
    """,
)
def _gelu_tanh(x):
    """y and y' of GELU's tanh form."""
    xp = get_xp(x=x)
    x2 = x * x
    u = (_SQRT_2_OVER_PI * _CUBIC) * x2  # u = sqrt(2 / pi) (x + 0.044715 x^3), from the inside out
    u += _SQRT_2_OVER_PI
    u *= x
    phi = xp.tanh(u, out=u)  # Phi = (1 + tanh(u)) / 2
    phi *= 0.5
    phi += 0.5
    y = x * phi
    two_du = x2  # 2 u' = 2 sqrt(2 / pi) (1 + 3 * 0.044715 x^2)
    two_du *= 6.0 * _SQRT_2_OVER_PI * _CUBIC
    two_du += 2.0 * _SQRT_2_OVER_PI
    slope = 1.0 - phi  # y' = Phi + 2 y (1 - Phi) u'
    slope *= y
    slope *= two_du
    slope += phi
    return y, slope


def gelu_tanh_backward(dy, cache):
    """dx = dy * y'"""
    return dy * cache.slope


def gelu_exact_forward(x):
    """The exact GELU, as BERT and RoBERTa have it, elementwise on any shape. Returns y and a GeluCache."""
    y, slope = elementwise(_gelu_exact, x)
    return y, GeluCache(slope)


@fused(
    "x[...] -> y[...], slope[...]",
    f"""
    const real root_half = {math.sqrt(0.5)}, density_at_0 = {1.0 / math.sqrt(2.0 * math.pi)};
    const real phi = (1 + erf(x[i] * root_half)) / 2;
    const real density = density_at_0 * exp(-x[i] * x[i] / 2);
    y[i] = x[i] * phi;
    slope[i] = phi + x[i] * density;
    """,
)
def _gelu_exact(x):
    """y and y' of the exact GELU."""
    xp = get_xp(x=x)
    phi = 0.5 * (1.0 + erf(x * math.sqrt(0.5)))
    density = xp.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return x * phi, phi + x * density


def gelu_exact_backward(dy, cache):
    """dx = dy * y'"""
    return dy * cache.slope
