"""Spearman's coefficient: how much two orders of the same things agree, from -1 to 1."""

from statistics import StatisticsError, correlation

import numpy

DRAWS = 100_000


def spearman(first, second):
    """The correlation of the ranks of two sequences of numbers; equal numbers share the mean of their ranks.

    Parameters
    ----------
    first, second : sequence of float
        Of the same things in the same order, three or more.

    Raises
    ------
    ValueError
        If they are not as above, or all numbers of one of them are equal, which has no order.
    """
    if len(first) != len(second) or len(first) < 3:
        raise ValueError(
            f"first and second had {len(first)} and {len(second)} numbers; it must be equally many, from 3"
        )
    try:
        return correlation(*(ranks(values).tolist() for values in (first, second)))
    except StatisticsError:
        raise ValueError("first or second had equal numbers alone; they must have an order") from None


def ranks(values):
    """1 for the smallest; equal ones have the mean of their ranks."""
    values = numpy.asarray(values, dtype=float)
    below = (values[:, None] > values).sum(axis=1)
    return below + ((values[:, None] == values).sum(axis=1) + 1) / 2


def centred(values):
    """Without their mean."""
    return values - values.mean()


def chance_of(first, second):
    """How likely a coefficient at least as high is if one of the orders is drawn: a permutation test of DRAWS orders.

    The estimate (1 + those as high) / (1 + DRAWS) is never below what the test would need to be valid (Phipson and
    Smyth, 2010). The orders are the same at each call.
    """
    x, y = (centred(ranks(values)) for values in (first, second))
    drawn = numpy.random.default_rng(0).permuted(numpy.tile(y, (DRAWS, 1)), axis=1)  # (DRAWS, n)
    as_high = (drawn @ x >= x @ y - 1e-9).sum()
    return float((1 + as_high) / (1 + DRAWS))
