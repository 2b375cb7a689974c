"""Verdicts that a statistician would accept: known data, published values, error rates, and mutants that fail."""

import math
from itertools import combinations

import numpy as np
import pytest

from minilora.experiments import verdicts
from minilora.experiments.student_t import critical_value, two_sided_p
from minilora.experiments.verdicts import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Difference,
    as_good,
    better,
    holm,
    judge,
    no_worse,
    of_values,
    paired,
    per_seed,
    unpaired,
)

POINTS = no_worse(2.0, "points", "a test")

# ---- Student's t


@pytest.mark.parametrize(  # Abramowitz and Stegun, table 26.10: t with P(|T| < t) = level
    ("level", "df", "t"),
    [
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.95, 4, 2.776),
        (0.95, 9, 2.262),
        (0.95, 30, 2.042),
        (0.95, 120, 1.980),
        (0.99, 2, 9.925),
        (0.99, 5, 4.032),
        (0.90, 10, 1.812),
        (0.50, 4, 0.741),
    ],
)
def test_the_quantiles_are_those_of_the_tables(level, df, t):
    assert critical_value(level, df) == pytest.approx(t, abs=6e-4)
    assert two_sided_p(critical_value(level, df), df) == pytest.approx(1 - level, abs=1e-12)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 24, 149])
def test_the_distribution_is_the_integral_of_its_density(df):
    t = np.linspace(0.0, 3.0, 20_001)
    constant = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi * df)
    inside = 2 * np.trapezoid(constant * (1 + t**2 / df) ** (-(df + 1) / 2), t)
    assert two_sided_p(3.0, df) == pytest.approx(1 - inside, abs=1e-9) == two_sided_p(-3.0, df)


def test_many_are_as_one_and_large_ones_are_those_of_the_normal_distribution():
    t = np.array([0.0, 0.5, -2.0])
    assert two_sided_p(t, 4).tolist() == [two_sided_p(x, 4) for x in t] and two_sided_p(0.0, 4) == 1.0
    assert two_sided_p(1.96, 2000) == pytest.approx(math.erfc(1.96 / math.sqrt(2)), abs=2e-4)
    assert two_sided_p(1e9, 4) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_sided_p(1.0, 0), "df was 0; it must be an integer of at least 1"),
        (lambda: two_sided_p(1.0, 1.5), "df was 1.5; it must be"),
        (lambda: critical_value(1.0, 4), "level was 1.0; it must be above 0 and below 1"),
        (lambda: no_worse(-1.0, "", ""), "margin was -1.0; it must be above 0"),
        (lambda: as_good(0, "", ""), "margin was 0; it must be above 0"),
        (lambda: judge([], better()), "differences was empty"),
        (lambda: per_seed([1.0, 2.0]), "of_pairs had 2 values; it must have"),
        (lambda: per_seed([1.0]), "for 3 seeds or more"),
    ],
)
def test_errors_at_the_door(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- known data, known verdicts

# Student (1908): additional hours of sleep of ten patients with two drugs
DRUG_1 = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
DRUG_2 = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)


def test_student_s_own_data_give_the_published_interval_and_p():
    """t = 4.0621 with 9 degrees of freedom, p = 0.002833, interval 0.70 to 2.46: R's t.test(sleep), paired."""
    difference = paired("drugs", DRUG_2, DRUG_1)
    assert difference.label == "drugs" and difference.n == 10 and difference.mean == pytest.approx(1.58)
    assert difference.mean / difference.error == pytest.approx(4.0621, rel=1e-4)
    assert difference.interval == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert difference.p(better()) == pytest.approx(0.002833, abs=5e-7)
    assert judge([difference], better()) == HOLDS and judge([paired("", DRUG_1, DRUG_2)], better()) == FAILS


def test_without_the_pairs_the_same_data_are_undecided():
    difference = unpaired("drugs", DRUG_2, DRUG_1)
    assert difference.mean / difference.error == pytest.approx(1.8608, rel=1e-4), "R's Welch test"
    assert judge([difference], better()) == UNDECIDED


def around(mean, error=1.0, n=5):
    return Difference("made up", mean, error, n)


T4 = critical_value(0.95, 4)  # 2.776: half an interval of 5 seeds with a standard error of 1


@pytest.mark.parametrize(
    ("question", "mean", "verdict"),
    [
        (better(), T4 + 0.01, HOLDS),
        (better(), T4 - 0.01, UNDECIDED),
        (better(), 0.0, UNDECIDED),
        (better(), -T4 + 0.01, UNDECIDED),
        (better(), -T4 - 0.01, FAILS),
        (POINTS, T4 - 1.99, HOLDS),
        (POINTS, T4 - 2.01, UNDECIDED),
        (POINTS, -T4 - 1.99, UNDECIDED),
        (POINTS, -T4 - 2.01, FAILS),
        (as_good(4.0, "", ""), 4 - T4 - 0.01, HOLDS),
        (as_good(4.0, "", ""), 4 - T4 + 0.01, UNDECIDED),
        (as_good(4.0, "", ""), -4 + T4 + 0.01, HOLDS),
        (as_good(4.0, "", ""), -4 + T4 - 0.01, UNDECIDED),
        (as_good(4.0, "", ""), 4 + T4 + 0.01, FAILS),
        (as_good(4.0, "", ""), -4 - T4 - 0.01, FAILS),
        (as_good(2.0, "", ""), 0.0, UNDECIDED),  # an interval wider than the margins
    ],
)
def test_a_verdict_is_where_the_interval_lies(question, mean, verdict):
    difference = around(mean)
    assert judge([difference], question) == verdict
    low, high = difference.interval
    lowest, highest = {"better": (0, math.inf), "no worse": (-2, math.inf)}.get(
        question.kind, (-question.margin, question.margin)
    )
    by_interval = HOLDS if lowest < low and high < highest else FAILS if high < lowest or highest < low else UNDECIDED
    assert by_interval == verdict


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_seeds_never_decide(n):
    for question in (better(), POINTS, as_good(2.0, "", "")):
        assert judge([of_values("few", [1e6] * n)], question) == UNDECIDED
        assert judge([of_values("few", [-1e6 - s for s in range(n)])], question) == UNDECIDED
    assert judge([of_values("three", [1e6, 1e6 + 1, 1e6 + 2])], better()) == HOLDS


def test_values_without_any_spread_are_decided_unless_they_lie_on_the_bound():
    assert judge([of_values("", [1.0] * 3)], better()) == HOLDS
    assert judge([of_values("", [0.0] * 3)], better()) == UNDECIDED
    assert judge([of_values("", [-3.0] * 3)], POINTS) == FAILS


# ---- several comparisons


def test_holm_s_correction_is_that_of_published_examples():
    # R's p.adjust(c(0.01, 0.02, 0.03, 0.04), "holm") is 0.04 0.06 0.06 0.06; Wright (1992), table 1, in any order
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.005, 0.011, 0.02, 0.04, 0.13]) == pytest.approx([0.025, 0.044, 0.06, 0.08, 0.13])
    assert holm([0.5, 0.6]) == [1.0, 1.0] and holm([0.03]) == [0.03] and holm([]) == []


def test_a_claim_of_several_holds_if_all_do_and_fails_if_one_does_after_the_correction():
    just = around(T4 + 0.01)
    assert judge([just] * 8, better()) == HOLDS, "all of them: no correction"
    assert judge([just] * 7 + [around(0.0)], better()) == UNDECIDED
    assert judge([around(-T4 - 0.01)], better()) == FAILS
    assert judge([just] * 7 + [around(-T4 - 0.01)], better()) == UNDECIDED, "one of eight by chance"
    assert judge([just] * 7 + [around(-20.0)], better()) == FAILS


# ---- error rates, by simulation


def draws(n, mean=0.0, repeats=10_000):
    values = np.random.default_rng(7).standard_normal((repeats, n)) + mean
    return values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(n)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_the_truth_in_95_of_100_cases(n):
    means, errors = draws(n)
    covered = np.abs(means) <= errors * critical_value(0.95, n - 1)
    assert covered.mean() == pytest.approx(0.95, abs=0.007)  # three standard errors of 10,000 draws
    ps = two_sided_p(means / errors, n - 1)
    assert np.array_equal(covered, ps >= 0.05) and np.mean(ps < 0.5) == pytest.approx(0.5, abs=0.015)


def rates(n, mean, question, repeats=2_000):
    """How often each verdict is given, of n values with a standard deviation of 1."""
    said = [judge([Difference("", *pair, n)], question) for pair in zip(*draws(n, mean, repeats), strict=True)]
    return {verdict: said.count(verdict) / repeats for verdict in verdicts.VERDICTS}


def test_wrong_verdicts_are_rare_and_right_ones_become_likely():
    at_bound = rates(5, -2.0, POINTS)
    assert at_bound[HOLDS] == pytest.approx(0.025, abs=0.012) and at_bound[FAILS] == pytest.approx(0.025, abs=0.012)
    power = rates(5, 2.0, better())
    assert power[HOLDS] == pytest.approx(0.91, abs=0.03) and power[FAILS] == 0.0, "two deviations, five seeds"
    assert rates(3, 2.0, better())[HOLDS] == pytest.approx(0.45, abs=0.04), "with three seeds, less than half of them"
    assert rates(5, 4.0, as_good(4.0, "", ""))[HOLDS] == pytest.approx(0.025, abs=0.012)


def test_a_family_of_eight_fails_by_chance_no_more_often_than_one():
    """All eight differences are 0, and the claim is that none is below: it must seldom be said not to hold."""
    values = np.random.default_rng(3).standard_normal((2_000, 8, 5))
    means, errors = values.mean(axis=2), values.std(axis=2, ddof=1) / math.sqrt(5)
    wrong = [
        judge([Difference("", m, e, 5) for m, e in zip(*row, strict=True)], better()) for row in zip(means, errors)
    ]
    assert wrong.count(FAILS) / len(wrong) < 0.04
    lowest = (means / errors).min(axis=1)
    assert np.mean(lowest < -T4) > 0.15, "without the correction one in six"


def test_pairs_of_seeds_are_not_counted_as_independent():
    """phi of two seeds is made up as the sum of what each seed brings; the mean of the pairs has the truth 0."""
    n, covered, naive = 5, [], []
    pairs = list(combinations(range(n), 2))
    for seeds in np.random.default_rng(1).standard_normal((2_000, n)):
        of_pairs = [seeds[a] + seeds[b] for a, b in pairs]
        low, high = of_values("", per_seed(of_pairs)).interval
        covered.append(low <= 0 <= high)
        low, high = of_values("", of_pairs).interval
        naive.append(low <= 0 <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015) and np.mean(naive) < 0.85
    assert np.mean(per_seed(of_pairs)) == pytest.approx(np.mean(of_pairs))


# ---- mutants: each must fail one of the checks above


def one_sided(t, df):
    return two_sided_p(t, df) / 2


def biased_spread(label, values):
    return Difference(label, float(np.mean(values)), float(np.std(values)) / math.sqrt(len(values)), len(values))


def margin_of_the_wrong_sign(self, difference):
    return difference - self.margin


MUTANTS = [
    ("two_sided_p", one_sided, test_student_s_own_data_give_the_published_interval_and_p),
    ("of_values", biased_spread, test_student_s_own_data_give_the_published_interval_and_p),
    (
        "critical_value",
        lambda level, df: critical_value(level, df + 1),
        test_student_s_own_data_give_the_published_interval_and_p,
    ),
    (
        "critical_value",
        lambda level, df: critical_value(2 * level - 1, df),
        test_student_s_own_data_give_the_published_interval_and_p,
    ),
    ("holm", lambda ps: ps, test_a_claim_of_several_holds_if_all_do_and_fails_if_one_does_after_the_correction),
    ("FEWEST", 2, lambda: test_one_or_two_seeds_never_decide(2)),
]


@pytest.mark.parametrize(("name", "mutant", "check"), MUTANTS)
def test_a_mutant_fails(monkeypatch, name, mutant, check):
    check()
    monkeypatch.setattr(verdicts, name, mutant)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize("mean", [T4 - 1.99, -T4 - 1.99])
def test_a_margin_of_the_wrong_sign_fails(monkeypatch, mean):
    verdict = HOLDS if mean > 0 else UNDECIDED
    test_a_verdict_is_where_the_interval_lies(POINTS, mean, verdict)
    monkeypatch.setattr(verdicts.Question, "excess", margin_of_the_wrong_sign)
    with pytest.raises(AssertionError):
        test_a_verdict_is_where_the_interval_lies(POINTS, mean, verdict)
