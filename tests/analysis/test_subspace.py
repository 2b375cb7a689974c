import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose
from threadpoolctl import threadpool_limits

from minilora.analysis import (
    factored_svd,
    left_subspace_similarity,
    principal_angles,
    random_control,
    similarity_of_bases,
    subspace_similarity,
)


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_phi_is_its_definition():
    """Equation 4 literally: full singular value decompositions, a loop over i and j, a Frobenius norm each."""
    A1, A2 = gaussian(4, 9), gaussian(6, 9, seed=1)
    U1, U2 = np.linalg.svd(A1)[2].T, np.linalg.svd(A2)[2].T
    phi = subspace_similarity(A1, A2)
    assert phi.shape == (4, 6)
    for i in range(1, 5):
        for j in range(1, 7):
            expected = np.linalg.norm(U1[:, :i].T @ U2[:, :j], "fro") ** 2 / min(i, j)
            assert phi[i - 1, j - 1] == pytest.approx(expected, abs=1e-12)


def test_phi_of_a_matrix_with_itself():
    """The first i directions lie in the first j >= i: phi = 1 everywhere."""
    A = gaussian(5, 12)
    assert_allclose(subspace_similarity(A, A), np.ones((5, 5)), atol=1e-12)


def test_phi_orders_directions_by_singular_value():
    e = np.eye(5)
    phi = subspace_similarity(np.array([3 * e[0], 2 * e[1]]), np.array([1 * e[0], 4 * e[2], 2 * e[1]]))
    # the second matrix's order is e2, e1, e0; the first one's e0, e1
    assert_allclose(phi, [[0, 0, 1], [0, 1 / 2, 1]], atol=1e-12)


@pytest.mark.parametrize("r1, r2, I", [(1, 1, 1), (3, 5, 8), (8, 8, 8), (2, 16, 64)])
def test_phi_is_between_0_and_1(r1, r2, I):
    phi = subspace_similarity(gaussian(r1, I), gaussian(r2, I, seed=1))
    assert phi.min() >= 0
    assert phi.max() <= 1


def test_phi_is_symmetric_and_blind_to_scale():
    A1, A2 = gaussian(3, 10), gaussian(5, 10, seed=1)
    phi = subspace_similarity(A1, A2)
    assert_allclose(subspace_similarity(A2, A1), phi.T, atol=1e-12)
    assert_allclose(subspace_similarity(-1e-3 * A1, 50 * A2), phi, atol=1e-12)


def test_the_projection_metric():
    """phi = 1 - d^2 / p with d = sqrt(p - sum of sigma^2): appendix G, its last formula put right."""
    A1, A2, p = gaussian(3, 10), gaussian(3, 10, seed=1), 3
    U1, U2 = np.linalg.qr(A1.T)[0], np.linalg.qr(A2.T)[0]
    d = np.sqrt(p - np.sum(np.linalg.svd(U1.T @ U2, compute_uv=False) ** 2))
    assert subspace_similarity(A1, A2)[-1, -1] == pytest.approx(1 - d**2 / p)


def test_the_gauge_trap():
    """(B M)(M^-1 A) is the same delta_W. phi on A sees the split, except at (r, r); phi on delta_W does not."""
    r = 4
    B, A, M = gaussian(9, r), gaussian(r, 12, seed=1), gaussian(r, r, seed=2)
    B2, A2 = B @ M, np.linalg.inv(M) @ A
    assert_allclose(B2 @ A2, B @ A, atol=1e-10)
    phi = subspace_similarity(A, A2)
    assert phi[-1, -1] == pytest.approx(1, abs=1e-10)
    assert np.diag(phi)[:-1].max() < 0.95
    free = similarity_of_bases(factored_svd(B, A).Vt, factored_svd(B2, A2).Vt)
    assert_allclose(free, np.ones((r, r)), atol=1e-10)


def test_the_left_singular_vectors_of_B():
    """Footnote 7, literally."""
    B1, B2 = gaussian(9, 3), gaussian(9, 5, seed=1)
    U1, U2 = (np.linalg.svd(B)[0] for B in (B1, B2))
    phi = left_subspace_similarity(B1, B2)
    assert phi.shape == (3, 5)
    assert phi[1, 2] == pytest.approx(np.linalg.norm(U1[:, :2].T @ U2[:, :3]) ** 2 / 2, abs=1e-12)
    assert_allclose(left_subspace_similarity(B1, B1), np.ones((3, 3)), atol=1e-12)


def test_B_is_compared_on_the_side_of_the_output():
    with pytest.raises(ValueError, match="the two have 9 and 8 columns"):
        left_subspace_similarity(gaussian(9, 3), gaussian(8, 3))
    with pytest.raises(ValueError, match=r"B2\^T had 3 rows but rank 0"):
        left_subspace_similarity(gaussian(9, 3), np.zeros((9, 3)))


def rotated(angles, n):
    """Bases of two subspaces of R^n that lie at these angles, in random coordinates."""
    p = len(angles)
    V1, V2 = np.zeros((2, p, n))
    for k, angle in enumerate(angles):
        V1[k, 2 * k] = 1
        V2[k, [2 * k, 2 * k + 1]] = np.cos(angle), np.sin(angle)
    mix = [np.linalg.qr(gaussian(m, m, seed=m))[0] for m in (n, p)]
    return V1 @ mix[0], mix[1] @ V2 @ mix[0]


@pytest.mark.parametrize("angles", [[0.3, 1.2], [1e-10, 1e-5, 0.7, 0.9, np.pi / 2], [0.0, np.pi / 4]])
def test_principal_angles_are_those_at_which_the_subspaces_were_put(angles):
    V1, V2 = rotated(angles, 12)
    assert_allclose(principal_angles(V1, V2), angles, atol=1e-14)
    assert_allclose(principal_angles(V2, V1), angles, atol=1e-14)


def test_principal_angles_of_subspaces_of_unlike_size():
    """The smaller one is in the larger, but for one direction at a right angle to all of it."""
    e = np.eye(6)
    assert_allclose(principal_angles(e[[0, 5]], e[:4]), [0, np.pi / 2], atol=1e-15)
    assert_allclose(principal_angles(e[:4], e[[0, 5]]), [0, np.pi / 2], atol=1e-15)


def test_phi_is_the_mean_of_the_squared_cosines_of_the_principal_angles():
    V1, V2 = (np.linalg.qr(gaussian(10, r, seed=r))[0].T for r in (3, 5))
    mean = np.mean(np.cos(principal_angles(V1, V2)) ** 2)
    assert similarity_of_bases(V1, V2)[-1, -1] == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("scale", [2.0, -0.5])
def test_factored_svd_is_that_of_the_product(scale):
    O, r, I = 11, 4, 7
    B, A = gaussian(O, r), gaussian(r, I, seed=1)
    delta_W = scale * B @ A
    U, S, Vt = factored_svd(B, A, scale)
    assert (U.shape, S.shape, Vt.shape) == ((O, r), (r,), (r, I))
    expected = np.linalg.svd(delta_W, compute_uv=False)
    assert_allclose(S, expected[:r], atol=1e-12)
    assert_allclose(expected[r:], 0, atol=1e-12)
    assert_allclose((U * S) @ Vt, delta_W, atol=1e-12)
    assert_allclose(U.T @ U, np.eye(r), atol=1e-12)
    assert_allclose(Vt @ Vt.T, np.eye(r), atol=1e-12)


def test_factored_svd_at_the_start_of_training():
    """B = 0: nothing but zeros, and no complaint."""
    assert_allclose(factored_svd(np.zeros((6, 2)), gaussian(2, 5), 1.0).S, 0)


def test_the_size_of_gpt3():
    """12288 x 12288 at rank 64: about 0.3 seconds on one idle core; the product alone would take 1.2 GB."""
    d, r = 12288, 64
    rng = np.random.default_rng(0)
    B, A1, A2 = (rng.standard_normal(shape) for shape in [(d, r), (r, d), (8, d)])
    tracemalloc.start()
    with threadpool_limits(1):  # on busy cores, waiting for each other takes the threads ten times as long
        S = factored_svd(B, A1, 0.5).S
        phi = subspace_similarity(A2, A1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6, "bytes; B and A1 are 6 million each"
    norm_squared = 0.25 * np.sum((B.T @ B) * (A1 @ A1.T))  # ||scale B A||_F^2 = scale^2 trace(B^T B A A^T)
    assert np.sum(S**2) == pytest.approx(norm_squared, rel=1e-10)
    assert phi.shape == (8, 64)
    assert phi[-1, -1] == pytest.approx(random_control(8, 64, d)[-1, -1], rel=0.3)


def test_bases_must_be_orthonormal():
    Vt = np.linalg.svd(gaussian(3, 8), full_matrices=False)[2]
    similarity_of_bases(Vt, Vt)
    with pytest.raises(ValueError, match="V2 has rows that are not orthonormal"):
        similarity_of_bases(Vt, 1.01 * Vt)


def with_entry(value):
    A = gaussian(2, 6)
    A[1, 3] = value
    return A


@pytest.mark.parametrize(
    "A1, A2, message",
    [
        (gaussian(2, 6), gaussian(2, 5), "the two have 6 and 5 columns"),
        (gaussian(6), gaussian(2, 6), r"A1 had shape \(6,\); it must be a matrix"),
        (gaussian(2, 6), gaussian(1, 2, 6), r"A2 had shape \(1, 2, 6\)"),
        (gaussian(2, 6), np.empty((0, 6)), r"A2 had shape \(0, 6\)"),
        (with_entry(np.nan), gaussian(2, 6), "A1 holds NaN"),
        (gaussian(2, 6), with_entry(np.inf), "A2 holds NaN or infinite"),
        (gaussian(7, 6), gaussian(2, 6), "A1 had 7 rows but rank 6"),
        (gaussian(2, 6), np.zeros((2, 6)), "A2 had 2 rows but rank 0"),
        (gaussian(5, 2) @ gaussian(2, 6), gaussian(2, 6), "A1 had 5 rows but rank 2"),
    ],
)
def test_what_cannot_be_compared_is_refused(A1, A2, message):
    with pytest.raises(ValueError, match=message):
        subspace_similarity(A1, A2)


def test_factors_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"B had shape \(6, 2\) and A \(3, 5\)"):
        factored_svd(gaussian(6, 2), gaussian(3, 5))
    with pytest.raises(ValueError, match="B holds NaN"):
        factored_svd(with_entry(np.nan).T, gaussian(2, 5))


def test_rows_that_are_the_same_but_for_float32s_rounding_are_refused():
    rows = np.random.default_rng(0).standard_normal((2, 50)).astype("float32")
    A = np.concatenate((rows, (rows[:1] + rows[1:]) / np.float32(3)))  # of rank 2
    with pytest.raises(ValueError, match="A1 had 3 rows but rank 2"):
        subspace_similarity(A, A)
