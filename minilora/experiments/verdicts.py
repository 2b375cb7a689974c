"""Three verdicts on a claim: it holds, it does not hold, or these runs cannot tell.

What is compared is a mean difference, in favour of the claim where it is positive, with its confidence interval. A
claim asks one of three questions of it:

- better: is the difference above 0?
- no worse: is it above minus a margin? Which margin, and why that one, is part of the claim.
- as good: is it between minus the margin and the margin (two one-sided tests; Schuirmann, 1987)?

The answer is yes where the whole interval lies inside what the claim says, and no where all of it lies outside.
Otherwise, and always with fewer than 3 seeds, it is undecided.

A claim with several comparisons says that all of them are so. It holds where each one is: that needs no correction,
because a wrong claim has a comparison that is wrong, and passes with at most that one's error (intersection-union;
Berger, 1982). It does not hold where one of them is not so, which with many of them happens by chance; therefore after
Holm's correction over all of the claim's comparisons.
"""

import math
from typing import NamedTuple

import numpy

from minilora.experiments.student_t import critical_value, two_sided_p

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
VERDICTS = (HOLDS, FAILS, UNDECIDED)
LEVEL = 0.95  # of the intervals: an error of 2.5 % in each direction
FEWEST = 3  # seeds, for any verdict but undecided


class Question(NamedTuple):
    """What a claim asks of a difference.

    Attributes
    ----------
    kind : {"better", "no worse", "as good"}
    margin : float
        0 for "better".
    unit : str
        Of difference and margin, such as "points".
    why : str
        Why this margin.
    """

    kind: str
    margin: float = 0.0
    unit: str = ""
    why: str = ""

    def excess(self, difference):
        """How far a difference lies inside what the claim says; outside it is negative."""
        return self.margin - abs(difference) if self.kind == "as good" else difference + self.margin


def better(unit=""):
    """The difference is above 0."""
    return Question("better", 0.0, unit)


def no_worse(margin, unit, why):
    """The difference is above minus the margin."""
    return Question("no worse", checked(margin), unit, why)


def as_good(margin, unit, why):
    """The difference is between minus the margin and the margin."""
    return Question("as good", checked(margin), unit, why)


def checked(margin):
    """The margin, if it is above 0."""
    if not margin > 0:
        raise ValueError(f"margin was {margin!r}; it must be above 0")
    return float(margin)


class Difference(NamedTuple):
    """A mean difference, in favour of a claim where it is positive.

    Attributes
    ----------
    label : str
        What is compared with what.
    mean : float
    error : float
        The standard error of the mean; infinite for a single value.
    n : int
        The number of values; their degrees of freedom are n - 1.
    """

    label: str
    mean: float
    error: float
    n: int

    @property
    def interval(self):
        """The confidence interval of the mean; infinite for a single value."""
        half = self.error * critical_value(LEVEL, self.n - 1) if self.n > 1 else math.inf
        return self.mean - half, self.mean + half

    def p(self, question):
        """The two-sided p of the hypothesis that the difference lies on the (nearest) bound of the question."""
        excess = question.excess(self.mean)
        if self.n < 2 or excess == 0.0:
            return 1.0
        return float(two_sided_p(excess / self.error, self.n - 1)) if self.error else 0.0


def of_values(label, values):
    """The Difference whose values are these, one for each seed (or whatever else is drawn independently)."""
    n = len(values)
    error = float(numpy.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return Difference(label, float(numpy.mean(values)), error, n)


def paired(label, first, second, factor=1.0):
    """By how much the first values are above the second ones, seed by seed.

    Parameters
    ----------
    label : str
    first, second : sequence of float
        With the same seeds in the same order, so that what a seed gives both, such as its batches, cancels.
    factor : float
        100 turns fractions into points.
    """
    return of_values(label, [factor * (a - b) for a, b in zip(first, second, strict=True)])


def unpaired(label, first, second):
    """By how much the first values are above the second ones, where they have nothing in common.

    The variances may differ; the degrees of freedom are those of the shorter row, which errs towards undecided.
    """
    one, other = of_values(label, first), of_values(label, second)
    return Difference(label, one.mean - other.mean, math.hypot(one.error, other.error), min(one.n, other.n))


def per_seed(of_pairs):
    """One number for each seed, from one for each two of them: the jackknife's pseudo-values.

    Two pairs that share a seed are not independent, and an interval of the pairs would be too short. The pseudo-values
    n m - (n - 1) m_s, where m is the mean over all pairs of the n seeds and m_s that over those without the seed s,
    have the mean m, and are nearly independent (Arvesen, 1969).

    Parameters
    ----------
    of_pairs : sequence of float
        In the order of ``itertools.combinations(seeds, 2)``, for three seeds or more.
    """
    n = (1 + math.isqrt(1 + 8 * len(of_pairs))) // 2
    if n < 3 or n * (n - 1) // 2 != len(of_pairs):
        raise ValueError(f"of_pairs had {len(of_pairs)} values; it must have n (n - 1) / 2, for 3 seeds or more")
    first, second = numpy.triu_indices(n, 1)  # the same order
    values = numpy.asarray(of_pairs, dtype=float)
    without = [values[(first != s) & (second != s)].mean() for s in range(n)]
    return [float(n * values.mean() - (n - 1) * m) for m in without]


def holm(ps):
    """The p values after Holm's correction for their number (Holm, 1979).

    The smallest of m is multiplied by m, the next one by m - 1, and so on; and none gets below one before it. That any
    hypothesis that is true gets a p below 0.05 then has a probability of at most 0.05.
    """
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected, largest = [0.0] * len(ps), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - place) * ps[i]))
        corrected[i] = largest
    return corrected


def judge(differences, question):
    """The verdict on the claim that all of the differences answer its question with yes.

    Parameters
    ----------
    differences : sequence of Difference
    question : Question

    Returns
    -------
    str
        One of VERDICTS.
    """
    if not differences:
        raise ValueError("differences was empty; a verdict needs at least one")
    if min(d.n for d in differences) < FEWEST:
        return UNDECIDED
    ps = [d.p(question) for d in differences]
    inside = [question.excess(d.mean) > 0 for d in differences]
    if all(yes and p <= 1 - LEVEL for yes, p in zip(inside, ps, strict=True)):
        return HOLDS
    if any(not yes and p <= 1 - LEVEL for yes, p in zip(inside, holm(ps), strict=True)):
        return FAILS
    return UNDECIDED
