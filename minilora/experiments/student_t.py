"""Student's t distribution, for confidence intervals of a few seeds.

For a whole number of degrees of freedom it has a closed form, of ten lines. A library that has it (SciPy) would be a
dependency of 35 MB for these, and everyone who runs an experiment would need it.
"""

import functools
import math

import numpy


def two_sided_p(t, df):
    """The probability that |T| is at least |t| (Abramowitz and Stegun, 26.7.3 and 26.7.4).

    With theta = arctan(t / sqrt(df)), c = cos theta and s = sin theta, P(|T| < t) is for an even df

        s (1 + 1/2 c^2 + (1 3)/(2 4) c^4 + ... up to c^(df - 2)),

    and for an odd one, without the sum where df is 1,

        2/pi (theta + s (c + 2/3 c^3 + (2 4)/(3 5) c^5 + ... up to c^(df - 2))).

    Parameters
    ----------
    t : float or ndarray
    df : int
        The degrees of freedom, at least 1.

    Returns
    -------
    float or ndarray
        Right to some 1e-15, so that smaller ones are noise, or 0.
    """
    if df < 1 or df != int(df):
        raise ValueError(f"df was {df!r}; it must be an integer of at least 1")
    theta = numpy.arctan(numpy.abs(t) / math.sqrt(df))
    s, c = numpy.sin(theta), numpy.cos(theta)
    odd = int(df) % 2
    term = c if odd else numpy.ones_like(c)
    total = numpy.zeros_like(c)
    for power in range(odd, int(df) - 1, 2):  # c^power is in `term`
        total = total + term
        term = term * c**2 * (power + 1) / (power + 2)
    inside = 2 / math.pi * (theta + s * total) if odd else s * total
    return numpy.clip(1.0 - inside, 0.0, 1.0)[()]


@functools.cache
def critical_value(level, df):
    """The t for which |T| is below it with probability `level`: 0.95 for the intervals of 95 %. By bisection."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level was {level!r}; it must be above 0 and below 1")
    low, high = 0.0, 1.0
    while two_sided_p(high, df) > 1.0 - level:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, df) > 1.0 - level else (low, middle)
    return (low + high) / 2
