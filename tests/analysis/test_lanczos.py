import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose

from minilora.analysis import lanczos, svd_of, truncated_svd


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def with_spectrum(O, I, S, seed=0):
    U, V = (np.linalg.qr(gaussian(n, len(S), seed=seed + n))[0] for n in (O, I))
    return (U * S) @ V.T


@pytest.fixture
def decompositions(monkeypatch):
    """Counts whole decompositions of W."""
    calls = []
    monkeypatch.setattr(lanczos, "svd_of", lambda W, name: calls.append(name) or svd_of(W, name))
    return calls


SPECTRA = {
    "power law": np.arange(1, 321) ** -0.5,
    "geometric": 0.8 ** np.arange(320),
    "equal leading values": np.r_[np.full(5, 2.0), 0.9 ** np.arange(315)],
    "rank 3 of 320": np.r_[3.0, 2.0, 1.0, np.zeros(317)],
    "tiny": 1e-100 * 0.7 ** np.arange(320),
}


@pytest.mark.parametrize("S", SPECTRA.values(), ids=SPECTRA)
@pytest.mark.parametrize("shape", [(400, 320), (320, 400)])
def test_leading_values_and_vectors_without_a_whole_decomposition(shape, S, decompositions):
    r = 5
    W = with_spectrum(*shape, S)
    U, values, Vt = truncated_svd(W, r, rng=np.random.default_rng(0))
    assert not decompositions
    assert (U.shape, values.shape, Vt.shape) == ((shape[0], r), (r,), (r, shape[1]))
    assert_allclose(values, S[:r], rtol=1e-12, atol=1e-12 * S[0])
    assert_allclose(U.T @ U, np.eye(r), atol=1e-12)
    assert_allclose(Vt @ Vt.T, np.eye(r), atol=1e-12)
    assert_allclose(W @ Vt.T, U * values, atol=1e-12 * S[0])
    assert_allclose(W.T @ U, Vt.T * values, atol=2e-8 * S[0])


def test_a_large_tolerance_takes_fewer_steps(monkeypatch):
    steps, times = [], lanczos.times
    monkeypatch.setattr(lanczos, "times", lambda W, X: steps.append(1) or times(W, X))
    W = with_spectrum(400, 400, np.arange(1, 401) ** -0.5)
    taken = []
    for tolerance in (1e-8, 1e-2):
        S = truncated_svd(W, 4, rng=np.random.default_rng(0), tolerance=tolerance).S
        assert_allclose(S, np.arange(1, 5) ** -0.5, atol=tolerance)
        taken.append(len(steps) - sum(taken))
    assert 1 < taken[1] < taken[0]


@pytest.mark.parametrize(("W", "r"), [(gaussian(30, 40), 30), (gaussian(40, 30), 9), (np.zeros((60, 50)), 2)])
def test_a_small_matrix_or_one_without_gaps(W, r):
    U, S, Vt = truncated_svd(W, r, rng=np.random.default_rng(0))
    expected = np.linalg.svd(W, full_matrices=False)
    assert_allclose(S, expected.S[:r], atol=1e-12)
    assert_allclose((U * S) @ Vt, (expected.U[:, :r] * expected.S[:r]) @ expected.Vh[:r], atol=1e-9)


def test_equal_singular_values_end_in_the_whole_decomposition(decompositions):
    W = np.linalg.qr(gaussian(100, 100))[0] * np.linspace(1, 1.001, 100)
    S = truncated_svd(W, 3, rng=np.random.default_rng(0)).S
    assert len(decompositions) == 1
    assert_allclose(S, np.linalg.svd(W, compute_uv=False)[:3], rtol=1e-12)


def test_float32_is_not_copied_as_a_whole():
    """One copy in float64 would be twice W's size."""
    W = with_spectrum(6000, 2000, 0.5 ** np.arange(20)).astype(np.float32)
    tracemalloc.start()
    S = truncated_svd(W, 4, rng=np.random.default_rng(0)).S
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < W.nbytes
    assert_allclose(S, 0.5 ** np.arange(4), rtol=1e-6)


def test_what_cannot_be_decomposed_is_refused():
    for r in (0, 6):
        with pytest.raises(ValueError, match=f"r was {r}; it must be an integer from 1 to 5"):
            truncated_svd(gaussian(5, 8), r, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="W holds NaN"):
        truncated_svd(np.full((5, 8), np.nan), 1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"W had shape \(5,\); it must be a matrix"):
        truncated_svd(gaussian(5), 1, rng=np.random.default_rng(0))
