"""Spearman's coefficient, by its formula without ties, with ties, and against what chance gives."""

import itertools

import numpy as np
import pytest

from minilora.experiments.spearman import chance_of, ranks, spearman


def test_without_ties_it_is_one_minus_six_times_the_squared_differences():
    draw = np.random.default_rng(1)
    for n in (3, 5, 10):
        x, y = draw.standard_normal((2, n))
        d = ranks(x) - ranks(y)
        assert spearman(x, y) == pytest.approx(1 - 6 * (d @ d) / (n * (n * n - 1)), abs=1e-12)


def test_a_textbooks_example_and_the_ends():
    """IQ and hours of television of ten people: -29/165."""
    iq = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    hours = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert spearman(iq, hours) == pytest.approx(-29 / 165, abs=1e-12)
    assert spearman([1, 2, 3], [10, 100, 1000]) == pytest.approx(1) and spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(
        -1
    )


def test_equal_numbers_share_their_ranks():
    assert ranks([5, 1, 5, 0]).tolist() == [3.5, 2, 3.5, 1]
    assert spearman([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.948683298)  # r of the ranks 1.5 1.5 3 4 and 1 2 3 4


def test_the_chance_is_that_of_all_orders():
    x, y = [1, 2, 3, 4, 5], [2, 1, 3, 5, 4]
    all_orders = [spearman(x, order) for order in itertools.permutations(y)]
    expected = np.mean([rho >= spearman(x, y) - 1e-12 for rho in all_orders])
    assert chance_of(x, y) == pytest.approx(expected, abs=0.003) and chance_of(x, y) == chance_of(x, y)
    assert chance_of(x, x[::-1]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1, 2], [1, 2], "first and second had 2 and 2 numbers"),
        ([1, 2, 3], [1, 2], "had 3 and 2"),
        ([1, 1, 1], [1, 2, 3], "equal numbers alone"),
    ],
)
def test_what_has_no_order_is_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        spearman(first, second)
