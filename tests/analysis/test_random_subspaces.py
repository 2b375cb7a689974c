"""Chance: the mean and variance of phi for random subspaces, against draws; and the z-score."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from minilora.analysis import (
    random_control,
    random_variance,
    simulated_control,
    subspace_similarity,
    z_score,
    z_scores,
)

i, j = np.ogrid[1:3, 1:5]


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_random_subspaces_meet_the_control():
    """The mean over n pairs, within five of its standard errors at every i and j."""
    r1, r2, I, n = 3, 5, 20, 400
    phi = np.array([subspace_similarity(gaussian(r1, I, seed=s), gaussian(r2, I, seed=n + s)) for s in range(n)])
    error = np.abs(phi.mean(axis=0) - random_control(r1, r2, I))
    assert (error < 5 * phi.std(axis=0) / np.sqrt(n)).all()


def test_the_control_is_max_i_j_over_I():
    assert_allclose(random_control(2, 3, 12), [[1 / 12, 2 / 12, 3 / 12], [2 / 12, 2 / 12, 3 / 12]])
    assert random_control(64, 64, 12288)[-1, -1] == pytest.approx(0.0052, abs=5e-5)  # GPT-3's
    with pytest.raises(ValueError, match="r1 and r2 were 3 and 9; each must be from 1 to I = 8"):
        random_control(3, 9, 8)
    with pytest.raises(ValueError, match="were 0 and 3"):
        random_control(0, 3, 8)


def test_the_simulated_control_is_phi_of_gaussian_matrices():
    phi = simulated_control(2, 4, 9, rng=np.random.default_rng(5), samples=300)
    rng = np.random.default_rng(5)
    np.testing.assert_array_equal(phi[0], subspace_similarity(rng.standard_normal((2, 9)), rng.standard_normal((4, 9))))
    error = np.abs(phi.mean(axis=0) - random_control(2, 4, 9))
    assert (error < 5 * phi.std(axis=0) / np.sqrt(300)).all()
    with pytest.raises(ValueError, match="r1 and r2 were 3 and 9"):
        simulated_control(3, 9, 8, rng=rng)


I, PAIRS = 5, 40_000


@pytest.fixture(scope="module")
def drawn():
    """phi of many pairs of random subspaces of R^5, of up to 2 and up to 4 directions."""
    draw = np.random.default_rng(7)
    U, V = (np.linalg.qr(draw.standard_normal((PAIRS, I, r)))[0] for r in (2, 4))  # orthonormal columns
    overlap = ((U.swapaxes(1, 2) @ V) ** 2).cumsum(axis=1).cumsum(axis=2)  # (pairs, 2, 4)
    return overlap / np.minimum(i, j)


def agrees(drawn, variance):
    """Whether every variance is within five standard errors of the one that was drawn."""
    squares = (drawn - drawn.mean(axis=0)) ** 2
    return bool((np.abs(squares.mean(axis=0) - variance) < 5 * squares.std(axis=0) / np.sqrt(len(drawn))).all())


def test_the_variance_is_that_of_random_subspaces(drawn):
    assert agrees(drawn, random_variance(2, 4, I))


MUTANTS = {
    "the trace is not left out": lambda v: v * (I - 1) * (I + 2) / (I * (I + 1)),
    "P is not centred": lambda v: v * I / (I - i),
    "complex subspaces": lambda v: v * (I + 2) / (2 * (I + 1)),
    "of the sum, not of phi": lambda v: v * np.minimum(i, j) ** 2,
    "divided by min once": lambda v: v * np.minimum(i, j),
    "independent squares": lambda v: 2 * i * j / I**2 / np.minimum(i, j) ** 2 + 0 * v,
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_wrong_variance_is_seen(drawn, mutant):
    assert not agrees(drawn, mutant(random_variance(2, 4, I)))


def test_two_lines_have_the_variance_of_a_squared_coordinate():
    """Of a unit vector of R^n: E u^4 - 1 / n^2 = 3 / (n (n + 2)) - 1 / n^2."""
    for n in (2, 3, 192):
        assert random_variance(1, 1, n)[0, 0] == pytest.approx(3 / (n * (n + 2)) - 1 / n**2, rel=1e-12)
    assert random_variance(1, 1, 1)[0, 0] == 0


def test_a_whole_space_leaves_nothing_to_chance():
    assert random_variance(2, 4, 4)[:, -1].tolist() == [0, 0]
    assert np.isnan(z_scores(np.ones((2, 4)), 4)[:, -1]).all() and np.isnan(z_score(1.0, 4, 2, 4))


def test_z_has_mean_0_and_deviation_1_for_random_subspaces(drawn):
    z = np.array([z_scores(phi, I) for phi in drawn[:4000]])
    assert np.abs(z.mean(axis=0)).max() < 5 / np.sqrt(len(z))
    assert_allclose(z.std(axis=0), 1, atol=0.1)


def test_one_z_is_that_of_the_grid():
    phi = subspace_similarity(gaussian(3, 9), gaussian(5, 9, seed=1))
    z = z_scores(phi, 9)
    assert z.shape == (3, 5)
    assert z_score(phi[1, 3], 2, 4, 9) == z[1, 3]
    assert z[1, 3] == pytest.approx((phi[1, 3] - 4 / 9) / np.sqrt(2 * 8 * 7 * 5 / (81 * 8 * 11 * 4)))


def test_what_is_no_grid_or_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"phi had shape \(3,\); it must be a grid"):
        z_scores(np.ones(3), 9)
    with pytest.raises(ValueError, match="r1 and r2 were 3 and 10; each must be from 1 to I = 9"):
        z_score(0.5, 3, 10, 9)
