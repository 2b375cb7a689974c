"""GELU, y = x Phi(x), where Phi is the standard normal distribution function: exact, and GPT-2's tanh form.

Derivation. y' = Phi(x) + x Phi'(x).

    exact     Phi(x) = (1 + erf(x / sqrt 2)) / 2           Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)
    tanh      Phi(x) = (1 + tanh(u)) / 2                   Phi'(x) = 2 Phi (1 - Phi) u'
              u = sqrt(2 / pi) (x + 0.044715 x^3)          u' = sqrt(2 / pi) (1 + 3 * 0.044715 x^2)

where tanh' = 1 - tanh^2 = 4 Phi (1 - Phi). The forward keeps y' itself: the backward is one product.
"""

import math
from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.ops.erf import erf

SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
CUBIC = 0.044715


class GeluCache(NamedTuple):
    slope: Array  # y' at x, of x's shape


def gelu_tanh_forward(x: Array) -> tuple[Array, GeluCache]:
    """GPT-2's GELU ("gelu_new"), elementwise on any shape. Returns y and a GeluCache."""
    u = SQRT_2_OVER_PI * (x + CUBIC * x * x * x)
    du = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x)
    Phi = 0.5 * (1.0 + get_xp(x=x).tanh(u))
    dPhi = 2.0 * Phi * (1.0 - Phi) * du
    return x * Phi, GeluCache(Phi + x * dPhi)


def gelu_tanh_backward(dy: Array, cache: GeluCache) -> Array:
    """dx = dy * y'"""
    return dy * cache.slope


def gelu_exact_forward(x: Array) -> tuple[Array, GeluCache]:
    """The exact GELU of BERT and RoBERTa, elementwise on any shape. Returns y and a GeluCache."""
    Phi = 0.5 * (1.0 + erf(x / math.sqrt(2.0)))
    dPhi = get_xp(x=x).exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return x * Phi, GeluCache(Phi + x * dPhi)


def gelu_exact_backward(dy: Array, cache: GeluCache) -> Array:
    """dx = dy * y'"""
    return dy * cache.slope
