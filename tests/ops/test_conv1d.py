import numpy as np
import pytest

from minilora.ops.fast import conv1d_forward, linear_forward

RNG = np.random.default_rng(0)
N, T, I, O = 2, 6, 5, 4
X, BIAS = RNG.standard_normal((N, T, I)), RNG.standard_normal(O)


@pytest.mark.parametrize("S", [1, 3, 5, 13])
def test_y_is_the_literal_formula(S):
    W = RNG.standard_normal((O, I, S))
    y, _ = conv1d_forward(X, W, BIAS)
    for n, t, o in np.ndindex(N, T, O):
        expected = BIAS[o]
        for s in range(S):
            if 0 <= t + s - S // 2 < T:
                expected += sum(W[o, i, s] * X[n, t + s - S // 2, i] for i in range(I))
        assert y[n, t, o] == pytest.approx(expected, abs=1e-12)


def test_the_cache_keeps_x_and_no_more_zeros_than_the_kernel_reaches():
    _, cache = conv1d_forward(X, RNG.standard_normal((O, I, 3)), BIAS)
    assert cache.padded.shape == (N, T + 2, I)
    assert np.array_equal(cache.padded[:, 1:-1], X) and not cache.padded[:, [0, -1]].any()


def test_a_kernel_of_size_one_is_a_linear_map():
    W = RNG.standard_normal((O, I, 1))
    assert np.array_equal(conv1d_forward(X, W, BIAS)[0], linear_forward(X, W[:, :, 0], BIAS)[0])


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match=r"W had shape \(4, 5, 2\), a kernel of size 2; its size must be odd"):
        conv1d_forward(X, np.zeros((O, I, 2)), BIAS)
