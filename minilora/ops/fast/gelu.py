"""GELU (`ops/gelu.py`) in place, in chunks that fit the processor's cache, and as one kernel on a GPU."""

import math

from minilora.arrays.backend import Array, get_xp
from minilora.arrays.chunks import elementwise
from minilora.arrays.kernels import fused
from minilora.ops import gelu as page
from minilora.ops.erf import coefficients
from minilora.ops.gelu import CUBIC, SQRT_2_OVER_PI, GeluCache
from minilora.ops.plain import engine_of


@engine_of(page.gelu_tanh_forward)
def gelu_tanh_forward(x: Array) -> tuple[Array, GeluCache]:
    y, slope = elementwise(_gelu_tanh, x, results=2)
    return y, GeluCache(slope)


@engine_of(page.gelu_exact_forward)
def gelu_exact_forward(x: Array) -> tuple[Array, GeluCache]:
    y, slope = elementwise(_gelu_exact, x, results=2)
    return y, GeluCache(slope)


@fused(
    "x[...], y[...], slope[...] -> y[...], slope[...]",
    f"""
    const real a = {SQRT_2_OVER_PI}, b = {CUBIC};  // u = a (x + b x^3)
    const real x2 = x[i] * x[i];
    const real phi = (1 + tanh(a * x[i] * (1 + b * x2))) / 2;
    const real du = a * (1 + 3 * b * x2);
    y[i] = x[i] * phi;
    slope[i] = phi + 2 * x[i] * phi * (1 - phi) * du;
    """,
)
def _gelu_tanh(x: Array, y: Array, slope: Array) -> None:
    """Overwrite y and slope with y and y' of GELU's tanh form."""
    xp = get_xp(x=x)
    x2 = x * x
    u = (SQRT_2_OVER_PI * CUBIC) * x2  # u = sqrt(2 / pi) (x + 0.044715 x^3), from the inside out
    u += SQRT_2_OVER_PI
    u *= x
    phi = xp.tanh(u, out=u)  # Phi = (1 + tanh(u)) / 2
    phi *= 0.5
    phi += 0.5
    xp.multiply(x, phi, out=y)
    two_du = x2  # 2 u' = 2 sqrt(2 / pi) (1 + 3 * 0.044715 x^2)
    two_du *= 6.0 * SQRT_2_OVER_PI * CUBIC
    two_du += 2.0 * SQRT_2_OVER_PI
    xp.subtract(1.0, phi, out=slope)  # y' = Phi + 2 y (1 - Phi) u'
    slope *= y
    slope *= two_du
    slope += phi


@fused(
    "x[...], y[...], slope[...] -> y[...], slope[...]",
    f"""
    const real root_half = {math.sqrt(0.5)}, density_at_0 = {1.0 / math.sqrt(2.0 * math.pi)};
    const real phi = (1 + erf(x[i] * root_half)) / 2;
    const real density = density_at_0 * exp(-x[i] * x[i] / 2);
    y[i] = x[i] * phi;
    slope[i] = phi + x[i] * density;
    """,
)
def _gelu_exact(x: Array, y: Array, slope: Array) -> None:
    """Overwrite y and slope with y and y' of the exact GELU."""
    xp = get_xp(x=x)
    e = x * x  # exp(-x^2 / 2) = exp(-z^2), for z = |x| / sqrt 2
    e *= -0.5
    xp.exp(e, out=e)
    z = xp.abs(x)
    z *= math.sqrt(0.5)
    phi = _scaled_erfc(z)
    phi *= e  # erfc(z)
    phi *= -0.5
    phi += 0.5  # erf(z) / 2
    xp.copysign(phi, x, out=phi)  # erf(-z) = -erf(z)
    phi += 0.5
    xp.multiply(x, phi, out=y)
    xp.multiply(x, e, out=slope)
    slope *= 1.0 / math.sqrt(2.0 * math.pi)
    slope += phi


def _scaled_erfc(z: Array) -> Array:
    """`scaled_erfc` in place; what it gives beyond z = 6 stays below 0.1, and is multiplied by exp(-z^2)."""
    highest, *others, last = coefficients(degree=24 if z.dtype.itemsize == 8 else 8)
    s = (16.0 / 3.0) / (2.0 + z)
    s -= 5.0 / 3.0
    p = highest * s
    for a_k in others:
        p += a_k
        p *= s
    p += last
    return p
