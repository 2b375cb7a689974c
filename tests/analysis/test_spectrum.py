import numpy as np
import pytest

from device_array import to_fake_device
from minilora.analysis import (
    Factors,
    directions_for,
    effective_rank,
    numerical_rank,
    rank_measures,
    singular_values,
    stable_rank,
)

FACTORS = Factors(
    np.random.default_rng(0).standard_normal((9, 3)), np.random.default_rng(1).standard_normal((3, 6)), -0.5
)
DELTA_W = FACTORS.scale * FACTORS.B @ FACTORS.A


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_singular_values_of_factors_are_those_of_the_product():
    expected = np.linalg.svd(DELTA_W, compute_uv=False)
    np.testing.assert_allclose(singular_values(DELTA_W), expected, atol=1e-13)
    np.testing.assert_allclose(singular_values(FACTORS), expected[:3], atol=1e-13)
    np.testing.assert_allclose(singular_values(to_fake_device(DELTA_W)), expected, atol=1e-13)


@pytest.mark.parametrize("r", [1, 3, 6])
def test_a_product_of_rank_r_has_numerical_rank_r_in_either_precision(r):
    B, A = gaussian(20, r), gaussian(r, 30, seed=1)
    assert numerical_rank(B @ A) == numerical_rank(Factors(B, A, 2.0)) == r
    assert numerical_rank(B.astype(np.float32) @ A.astype(np.float32)) == r


def test_float32_s_rounding_is_rank_in_float64():
    """What a tolerance is: the same entries have rank 3 if they are known to seven digits, and 20 if to sixteen."""
    single = gaussian(20, 3).astype(np.float32) @ gaussian(3, 30, seed=1).astype(np.float32)
    assert numerical_rank(single) == 3
    double = single.astype(np.float64)
    assert numerical_rank(double) == 20
    assert numerical_rank(double, tolerance=1e-4) == 3


def test_the_tolerance_is_the_largest_singular_value_times_the_size_times_eps():
    eps = np.finfo(np.float64).eps
    for wide in (False, True):
        M = np.zeros((5, 8))
        M[0, 0], M[1, 1], M[2, 2] = 4, 4 * 8 * eps * 1.01, 4 * 8 * eps * 0.99
        assert numerical_rank(M.T if wide else M) == 2
    assert numerical_rank(np.diag([4.0, 2.0, 1.0]), tolerance=2) == 1
    assert numerical_rank(np.zeros((3, 4))) == numerical_rank(np.zeros((3, 4)), tolerance=0) == 0
    assert numerical_rank(np.array([[1, 2], [2, 4]])) == numerical_rank([[1, 2], [2, 4]]) == 1


@pytest.mark.parametrize("measure", [stable_rank, effective_rank])
def test_k_equal_singular_values_have_rank_k(measure):
    assert measure([2.0] * 5 + [0.0] * 3) == pytest.approx(5, abs=1e-12)
    assert measure([7.0, 0, 0]) == pytest.approx(1, abs=1e-12)


def test_the_ranks_of_two_singular_values_by_hand():
    assert stable_rank([2, 1]) == 5 / 4
    # H(2/3, 1/3) = ln 3 - (2/3) ln 2
    assert effective_rank([2, 1]) == pytest.approx(3 / 2 ** (2 / 3), abs=1e-12)


def test_a_long_tail_has_little_energy_but_many_directions():
    """The numbers of the module's docstring."""
    S = [1.0] * 8 + [0.1] * 92
    assert numerical_rank(np.diag(S)) == 100
    assert stable_rank(S) == pytest.approx(8.92, abs=1e-9) and round(effective_rank(S)) == 59


@pytest.mark.parametrize("measure", [stable_rank, effective_rank, directions_for])
def test_measures_lie_between_1_and_the_rank_and_do_not_see_scale(measure):
    S = np.sort(gaussian(20) ** 2)[::-1]
    assert 1 <= measure(S) <= 20
    assert measure(1e-170 * S) == pytest.approx(measure(S)) == measure(np.append(S, 0))
    assert measure(np.zeros(3)) == 0


def test_directions_for_a_share_of_the_energy():
    S = [3.0, 2.0, 1.0, 1.0, 1.0]  # energies 9, 4, 1, 1, 1 of 16
    assert [directions_for(S, share) for share in (0.5, 9 / 16, 0.57, 13 / 16, 0.82, 0.9, 1)] == [1, 1, 2, 2, 3, 4, 5]
    assert directions_for([1.0, 0.0, 0.0], 1.0) == 1


def test_rank_measures_layer_by_layer():
    full = gaussian(6, 8)
    measures = rank_measures({"lora": FACTORS, "full": full}, share=0.5)
    assert list(measures) == ["lora", "full"]
    S = np.linalg.svd(full, compute_uv=False)
    assert measures["full"] == (
        6,
        pytest.approx(stable_rank(S)),
        pytest.approx(effective_rank(S)),
        directions_for(S, 0.5),
        pytest.approx(np.linalg.norm(full)),
    )
    assert measures["lora"].rank == 3 and measures["lora"].norm == pytest.approx(np.linalg.norm(DELTA_W))
    of_product = rank_measures({"": DELTA_W}, share=0.5)[""]
    np.testing.assert_allclose(measures["lora"], of_product, rtol=1e-12)
    assert rank_measures({"start": Factors(np.zeros((4, 2)), gaussian(2, 5), 1.0)})["start"] == (0, 0, 0, 0, 0)


def test_the_rank_of_a_gpt3_delta_takes_its_factors_only():
    """The product would be 1.2 GB; the time is that of thin QR decompositions."""
    d = 12288
    (measures,) = rank_measures({"": Factors(gaussian(d, 4), gaussian(4, d, seed=1), 1.0)}).values()
    assert measures.rank == 4 and measures.directions == 4


@pytest.mark.parametrize("S", [[], [[1.0]], [1.0, 2.0], [1.0, -1.0], [np.nan], [np.inf, 1.0]])
@pytest.mark.parametrize("measure", [stable_rank, effective_rank, directions_for])
def test_what_are_no_singular_values_is_refused(measure, S):
    with pytest.raises(ValueError, match="it must hold singular values, from large to small"):
        measure(S)


def test_what_else_is_refused():
    for share in (0, 1.1, np.nan):
        with pytest.raises(ValueError, match=rf"share was {share}; .* above 0, up to 1"):
            directions_for([1.0], share)
    for tolerance in (-1, np.inf, np.nan):
        with pytest.raises(ValueError, match=rf"tolerance was {tolerance}; .* at least 0"):
            numerical_rank(np.eye(2), tolerance)
    with pytest.raises(ValueError, match=r"blocks\.0 holds NaN"):
        rank_measures({"blocks.0": np.full((2, 2), np.nan)})
    with pytest.raises(ValueError, match=r"M had shape \(3,\); it must be a matrix"):
        singular_values(np.ones(3))
