"""The error function, elementwise, which NumPy lacks.

With t = 1 / (1 + |x| / 2), erfc(|x|) = exp(-x^2) p(t) for a smooth p: here its Chebyshev interpolant through values of
the standard library's erfc, up to |x| = 6, where erf is 1 to the last bit. Its degree is high enough that the absolute
error is at the level of rounding.
"""

import functools
import math

from minilora.arrays.backend import Array, get_xp


def erf(x: Array) -> Array:
    """erf(x) for a float32 or float64 array of any shape."""
    xp = get_xp(x=x)
    z = xp.minimum(xp.abs(x), 6.0)
    s = (16.0 / (2.0 + z) - 5.0) / 3.0  # t from 1/4 to 1 -> s from -1 to 1
    c = _erfc_coefficients(degree=24 if x.dtype.itemsize == 8 else 8)
    two_s, b, b_next = 2.0 * s, 0.0, 0.0  # Clenshaw's recurrence for p = sum_k c_k T_k(s)
    for c_k in reversed(c[1:]):
        b, b_next = two_s * b - b_next + c_k, b
    p = s * b - b_next + c[0]
    return xp.copysign(1.0 - xp.exp(-z * z) * p, x)


@functools.cache
def _erfc_coefficients(degree: int) -> list[float]:
    """c_k = (2 / n) sum_j p(cos theta_j) cos(k theta_j) at n = degree + 1 Chebyshev points; half of that for c_0."""
    n = degree + 1
    angles = [math.pi * (j + 0.5) / n for j in range(n)]
    points = [16.0 / (3.0 * math.cos(angle) + 5.0) - 2.0 for angle in angles]  # |x| where s = cos theta
    values = [math.erfc(z) * math.exp(z * z) for z in points]
    c = [2.0 / n * math.fsum(v * math.cos(k * a) for v, a in zip(values, angles, strict=True)) for k in range(n)]
    return [c[0] / 2.0, *c[1:]]
