import numpy as np
import pytest

from minilora.analysis import Factors, low_rank_approximation, low_rank_errors, numerical_rank

SHAPES = [(7, 5), (5, 7), (6, 6)]


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("r", range(1, 6))
def test_eckart_young_to_twelve_digits(shape, r):
    """The errors that are stated, S_(r+1) and the root of the sum of S_i^2 beyond, are those of B A."""
    M = gaussian(*shape)
    low = low_rank_approximation(M, r)
    left_out = M - low.product
    assert (low.B.shape, low.A.shape) == ((shape[0], r), (r, shape[1]))
    assert numerical_rank(low.product) == r
    assert low.frobenius_error == pytest.approx(np.linalg.norm(left_out), abs=1e-12)
    assert low.spectral_error == pytest.approx(np.linalg.norm(left_out, 2), abs=1e-12)
    assert low.parameters == r * sum(shape)


def test_the_full_rank_leaves_nothing_out():
    M = gaussian(4, 6)
    low = low_rank_approximation(M, 4)
    np.testing.assert_allclose(low.product, M, atol=1e-12)
    assert low.frobenius_error == low.spectral_error == 0


def test_no_other_matrix_of_rank_r_is_closer():
    """Least squares in B and A by turns, from anywhere, comes down to the same error and never below it."""
    M, r = gaussian(9, 7), 3
    low = low_rank_approximation(M, r)
    for seed in range(5):
        A, errors = gaussian(r, 7, seed=seed + 1), []
        for _ in range(300):
            B = np.linalg.lstsq(A.T, M.T)[0].T
            A = np.linalg.lstsq(B, M)[0]
            errors.append(np.linalg.norm(M - B @ A))
            assert np.linalg.norm(M - B @ A, 2) >= low.spectral_error - 1e-12
        assert min(errors) >= low.frobenius_error - 1e-12
        assert errors[-1] == pytest.approx(low.frobenius_error, rel=1e-6)


def test_of_a_diagonal_matrix_by_hand():
    errors = low_rank_errors(np.diag([4.0, 3.0, 0.0]))
    np.testing.assert_allclose(errors.frobenius, [5, 3, 0, 0], atol=1e-12)
    np.testing.assert_allclose(errors.spectral, [4, 3, 0, 0], atol=1e-12)
    np.testing.assert_array_equal(errors.parameters, [0, 6, 12, 18])
    assert low_rank_approximation(np.diag([4.0, 3.0, 0.0]), 1).product[0, 0] == pytest.approx(4)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_errors_of_all_ranks_are_those_of_each(shape):
    M = gaussian(*shape)
    errors = low_rank_errors(M)
    assert errors.frobenius[0] == pytest.approx(np.linalg.norm(M))
    assert errors.frobenius[-1] == errors.spectral[-1] == 0
    for r in range(1, min(shape) + 1):
        low = low_rank_approximation(M, r)
        assert (low.parameters, low.frobenius_error, low.spectral_error) == pytest.approx(
            (errors.parameters[r], errors.frobenius[r], errors.spectral[r]), abs=1e-12
        )


def test_a_tiny_error_beside_a_large_matrix_is_not_lost():
    """||M||^2 minus the energy that is kept would be zero here."""
    errors = low_rank_errors(np.diag([1e9, 3e-3, 4e-3]))
    np.testing.assert_allclose(errors.frobenius, [1e9, 5e-3, 3e-3, 0], rtol=1e-12)


def test_the_errors_fall():
    errors = low_rank_errors(gaussian(30, 20))
    assert (np.diff(errors.frobenius) < 0).all() and (np.diff(errors.spectral) < 0).all()
    assert (errors.spectral <= errors.frobenius).all()


def test_factors_are_cut_without_their_product():
    B, A = gaussian(8, 4), gaussian(4, 6, seed=1)
    from_factors, from_product = low_rank_approximation(Factors(B, A, 2.0), 2), low_rank_approximation(2 * B @ A, 2)
    np.testing.assert_allclose(from_factors.product, from_product.product, atol=1e-12)
    assert from_factors[2:] == pytest.approx(from_product[2:], abs=1e-12)
    np.testing.assert_allclose(
        low_rank_errors(Factors(B, A, 2.0)).frobenius, low_rank_errors(2 * B @ A).frobenius[:5], atol=1e-12
    )


def test_a_rank_that_there_is_not_is_refused():
    for r in (0, 5):
        with pytest.raises(ValueError, match=f"r was {r}; it must be an integer from 1 to 4"):
            low_rank_approximation(gaussian(4, 6), r)
    with pytest.raises(ValueError, match="M holds NaN"):
        low_rank_approximation(np.full((2, 2), np.nan), 1)
