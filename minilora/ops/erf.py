"""The error function, elementwise, which NumPy lacks.

For z >= 0, erfc(z) = exp(-z^2) p(s) for a smooth p, where s = (16 / (2 + z) - 5) / 3 runs from 1 at z = 0 to -1 at
z = 6; there erf is 1 to the last bit. p is taken as a polynomial: the Chebyshev interpolant through values of the
standard library's erfc, of a degree at which the absolute error is at the level of rounding.
"""

import functools
import math

from minilora.arrays.backend import Array, get_xp


def erf(x: Array) -> Array:
    """erf(x) for a float32 or float64 array of any shape."""
    xp = get_xp(x=x)
    z = xp.minimum(xp.abs(x), 6.0)
    return xp.copysign(1.0 - xp.exp(-z * z) * scaled_erfc(z), x)


def scaled_erfc(z: Array) -> Array:
    """exp(z^2) erfc(z) for z from 0 to 6, of any shape."""
    s, p = (16.0 / (2.0 + z) - 5.0) / 3.0, 0.0
    for a_k in coefficients(degree=24 if z.dtype.itemsize == 8 else 8):
        p = p * s + a_k  # Horner's rule
    return p


@functools.cache
def coefficients(degree: int) -> list[float]:
    """Of p, the highest power of s first.

    p = sum_k c_k T_k(s), with c_k = (2 / n) sum_j p(cos theta_j) cos(k theta_j) at n = degree + 1 Chebyshev points, and
    half of that for c_0; and T_0 = 1, T_1 = s, T_(k+1) = 2 s T_k - T_(k-1).
    """
    n = degree + 1
    angles = [math.pi * (j + 0.5) / n for j in range(n)]
    points = [16.0 / (3.0 * math.cos(angle) + 5.0) - 2.0 for angle in angles]  # z where s = cos theta
    values = [math.erfc(z) * math.exp(z * z) for z in points]
    c = [2.0 / n * math.fsum(v * math.cos(k * a) for v, a in zip(values, angles, strict=True)) for k in range(n)]
    # p starts at -c_0 / 2, because the loop adds the whole c_0
    p, T, T_next = [-c[0] / 2.0, *[0.0] * degree], [1.0, *[0.0] * degree], [0.0, 1.0, *[0.0] * (degree - 1)]
    for c_k in c:
        p = [a + c_k * b for a, b in zip(p, T, strict=True)]
        T, T_next = T_next, [2.0 * a - b for a, b in zip([0.0, *T_next[:-1]], T, strict=True)]
    return p[::-1]
