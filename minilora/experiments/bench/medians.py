"""How well a median is known: an interval for it that needs no distribution, and rounds until it is narrow.

Of n independent values, the number that lie below the true median is binomial with p = 1/2. The true median is
therefore between the k-th smallest and the k-th largest value with probability

    1 - 2 P(X < k),     X ~ Bin(n, 1/2)

whatever the values' distribution is, outliers included. Six values are the fewest for 95 %: 1 - 2 / 2^6 = 0.97.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median

LEVEL = 0.95
NARROW = 0.05  # of the median


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """The narrowest such interval that holds the true median with at least this probability; None of too few values."""
    ordered, n = sorted(values), len(values)
    outside, k = 0.0, 0  # 2 P(X < k)
    while k < n // 2 and outside + 2 * math.comb(n, k) / 2**n <= 1 - level:
        outside += 2 * math.comb(n, k) / 2**n
        k += 1
    return (ordered[k - 1], ordered[n - k]) if k else None


def width(values: Sequence[float]) -> float:
    """The width of the interval in units of the median; infinite for too few values."""
    found = interval(values)
    return math.inf if found is None else (found[1] - found[0]) / median(values)


def all_narrow(measured: Mapping[str, Sequence[float]]) -> bool:
    """Whether the median of each is known to NARROW."""
    return all(width(values) < NARROW for values in measured.values())
