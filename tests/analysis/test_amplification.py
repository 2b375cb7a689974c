import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from device_array import to_fake_device
from minilora.analysis import (
    Factors,
    amplification_factor,
    amplification_table,
    large,
    projection_norm,
    random_control,
    random_directions,
    random_projection_norm,
    similarity_of_bases,
    svd_of,
    weight_similarity,
)


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


O, I, R = 14, 9, 3
W = gaussian(O, I)
FACTORS = Factors(gaussian(O, R, seed=1), gaussian(R, I, seed=2), 0.5)
DELTA_W = FACTORS.scale * FACTORS.B @ FACTORS.A


def test_table_7_is_its_definition():
    table = amplification_table(W, FACTORS, rng=np.random.default_rng(0))
    U, S, Vt = np.linalg.svd(DELTA_W)
    assert table.r == R
    assert table.delta == pytest.approx(np.linalg.norm(U[:, :R].T @ W @ Vt[:R].T), abs=1e-12)
    assert table.norm_W == pytest.approx(np.linalg.norm(W), abs=1e-12)
    assert table.norm_delta == pytest.approx(np.linalg.norm(DELTA_W), abs=1e-12)
    assert table.factor == pytest.approx(np.linalg.norm(S) / table.delta, abs=1e-12)
    assert amplification_factor(W, FACTORS) == pytest.approx(table.factor, rel=1e-12)
    assert amplification_factor(W, DELTA_W) == pytest.approx(table.factor, rel=1e-12)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_the_column_of_w_itself_is_the_root_of_the_sum_of_its_squared_singular_values(r):
    S = np.linalg.svd(W, compute_uv=False)
    table = amplification_table(W, FACTORS, r, rng=np.random.default_rng(0))
    assert table.weight == pytest.approx(math.sqrt(np.sum(S[:r] ** 2)), abs=1e-12)
    leading = svd_of(W)
    assert projection_norm(W, leading.U[:, :r], leading.Vt[:r]) == pytest.approx(table.weight, abs=1e-12)
    assert max(table.delta, table.random) <= table.weight


def test_the_random_column_in_root_mean_square():
    """r / sqrt(O I) ||W||_F, within five standard errors of the mean of squares."""
    n, rng = 2000, np.random.default_rng(0)
    squares = [projection_norm(W, random_directions(R, O, rng).T, random_directions(R, I, rng)) ** 2 for _ in range(n)]
    expected = random_projection_norm(O, I, R, np.linalg.norm(W)) ** 2
    assert expected == pytest.approx(R**2 / (O * I) * np.sum(W**2))
    assert abs(np.mean(squares) - expected) < 5 * np.std(squares) / math.sqrt(n)
    table = amplification_table(W, FACTORS, rng=rng)
    assert table.random_expected == pytest.approx(math.sqrt(expected))
    assert 0.2 < table.random / table.random_expected < 3
    assert random_projection_norm(O, I, I, 1.0) == pytest.approx(math.sqrt(I / O))  # all of the input, I of the output


def test_the_papers_table_7():
    """Its random column and its factors, from its norms: 0.02 and 0.33 were drawn, and 21.5 was rounded before."""
    assert random_projection_norm(12288, 12288, 4, 61.95) == pytest.approx(0.0202, abs=5e-5)
    assert random_projection_norm(12288, 12288, 64, 61.95) == pytest.approx(0.3227, abs=5e-5)


def test_the_amplification_of_a_delta_in_known_directions():
    """W has 3 in the direction that delta_W makes 6 of; in one where it has nothing, the factor is infinite."""
    W, delta_W = np.diag([5.0, 3.0, 0.0]), np.zeros((3, 3))
    delta_W[1, 1] = 6
    assert amplification_factor(W, delta_W) == pytest.approx(2)
    assert amplification_table(W, -delta_W, rng=np.random.default_rng(0)).factor == pytest.approx(2)
    delta_W[1, 1], delta_W[2, 2] = 0, 6
    assert amplification_factor(W, delta_W) == math.inf
    assert amplification_table(W, delta_W, rng=np.random.default_rng(0)).factor == math.inf


def test_of_full_fine_tuning_the_leading_directions_are_taken():
    full = gaussian(O, I, seed=3)
    U, _, Vt = np.linalg.svd(full)
    expected = np.linalg.norm(full) / np.linalg.norm(U[:, :2].T @ W @ Vt[:2].T)
    assert amplification_factor(W, full, 2) == pytest.approx(expected, rel=1e-12)


def test_all_directions_are_all_of_w():
    table = amplification_table(gaussian(6, 6), gaussian(6, 6, seed=1), rng=np.random.default_rng(0))
    projected = (table.delta, table.weight, table.random, table.random_expected)
    assert projected == pytest.approx(4 * (table.norm_W,), rel=1e-12)


def test_figure_8_compares_the_directions_of_the_input():
    phi = weight_similarity(W, FACTORS, 5, rng=np.random.default_rng(0))
    expected = similarity_of_bases(np.linalg.svd(W)[2][:5], np.linalg.svd(DELTA_W)[2][:R])
    assert phi.shape == (5, R)
    assert_allclose(phi, expected, atol=1e-12)
    leading = svd_of(W)
    own = Factors(leading.U[:, :2] * leading.S[:2], leading.Vt[:2], 1.0)
    assert_allclose(weight_similarity(W, own, 2, rng=np.random.default_rng(0)), np.ones((2, 2)), atol=1e-12)


def test_figure_8_of_random_weights_meets_the_control():
    n, samples = 6, 300
    phi = np.array(
        [
            weight_similarity(
                gaussian(20, 12, seed=s), gaussian(20, 12, seed=samples + s), n, 2, rng=np.random.default_rng(s)
            )
            for s in range(samples)
        ]
    )
    assert (np.abs(phi.mean(axis=0) - random_control(n, 2, 12)) < 5 * phi.std(axis=0) / math.sqrt(samples)).all()


def test_random_directions_are_orthonormal():
    V = random_directions(4, 9, np.random.default_rng(0))
    assert_allclose(V @ V.T, np.eye(4), atol=1e-14)


def test_blocks_of_rows_do_not_show(monkeypatch):
    whole = amplification_table(W, FACTORS, rng=np.random.default_rng(0))
    monkeypatch.setattr(large, "BLOCK_BYTES", 3 * 8 * I)
    assert amplification_table(W, FACTORS, rng=np.random.default_rng(0)) == pytest.approx(whole, rel=1e-13)
    assert_allclose(large.times(W, np.eye(I)), W)
    assert_allclose(large.transposed_times(W, np.eye(O)), W.T)


def test_a_weight_on_a_device_comes_to_the_host():
    assert amplification_factor(to_fake_device(W), FACTORS) == pytest.approx(amplification_factor(W, FACTORS))


@pytest.mark.parametrize(
    ("W", "delta_W", "r", "message"),
    [
        (W, gaussian(I, O), None, r"W had shape \(14, 9\) and delta_W \(9, 14\); they must be the same"),
        (W, DELTA_W, 4, "r was 4; it must be an integer from 1 to 3, the rank of delta_W"),
        (W, FACTORS, 0, "r was 0; it must be an integer from 1 to 3"),
        (W, np.zeros((O, I)), None, "delta_W was zero, as it is while B is; it must have at least one direction"),
        (W, FACTORS._replace(A=np.full((R, I), np.nan)), None, "A holds NaN"),
        (np.where(W == W[2, 2], np.inf, W), FACTORS, None, "W holds NaN or infinite values"),
        (W[0], FACTORS, None, r"W had shape \(9,\)"),
    ],
)
def test_what_does_not_match_is_refused(W, delta_W, r, message):
    for measure in (amplification_factor, amplification_table):
        options = {"rng": np.random.default_rng(0)} if measure is amplification_table else {}
        with pytest.raises(ValueError, match=message):
            measure(W, delta_W, r, **options)


def test_directions_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"W had shape \(14, 9\), U \(9, 2\) and Vt \(2, 9\)"):
        projection_norm(W, gaussian(9, 2), gaussian(2, 9))
    with pytest.raises(ValueError, match="r was 10; it must be an integer from 1 to 9"):
        random_projection_norm(O, I, 10)


# ---- the rank of what was computed in float32


def float32_layer():
    """W, B and A in float32, delta_W = B A multiplied out in float32: of rank 3 but for its rounding."""
    W, B, A = (gaussian(*shape, seed=seed).astype("float32") for seed, shape in enumerate(((60, 50), (60, 3), (3, 50))))
    return W, Factors(B, A, 1.0), B @ A


def test_a_delta_of_float32_has_the_rank_of_its_factors():
    W, factors, delta_W = float32_layer()
    assert amplification_factor(W, delta_W) == pytest.approx(amplification_factor(W, factors), rel=1e-4)
    assert amplification_table(W, delta_W, rng=np.random.default_rng(0)).r == 3
    assert weight_similarity(W, delta_W, 5, rng=np.random.default_rng(0)).shape == (5, 3)


def test_a_delta_of_float64_keeps_a_direction_that_float32_would_take_for_rounding():
    U, V = np.linalg.qr(gaussian(60, 2))[0], np.linalg.qr(gaussian(50, 2))[0]
    delta_W = (U * [1.0, 1e-8]) @ V.T
    assert amplification_table(gaussian(60, 50), delta_W, rng=np.random.default_rng(0)).r == 2
