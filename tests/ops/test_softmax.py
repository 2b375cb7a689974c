import math

import numpy as np
import pytest

from minilora.ops.fast import softmax_backward, softmax_forward

X = np.random.default_rng(0).standard_normal((2, 3, 5))


def test_probs_are_the_literal_formula():
    probs, _ = softmax_forward(X)
    for row, p in zip(X.reshape(-1, 5), probs.reshape(-1, 5), strict=True):
        total = sum(math.exp(v) for v in row)
        assert np.allclose(p, [math.exp(v) / total for v in row], rtol=0, atol=1e-15)


def test_a_shift_is_not_seen():
    assert np.allclose(softmax_forward(X + 100.0)[0], softmax_forward(X)[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits_stay_finite(dtype):
    probs, cache = softmax_forward(np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -2e4]], dtype))
    assert np.array_equal(probs, [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert np.isfinite(softmax_backward(np.ones_like(probs), cache)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_minus_infinity_has_probability_zero(dtype):
    probs, cache = softmax_forward(np.array([[0.0, -math.inf, 0.0], [-math.inf] * 3], dtype))
    assert np.array_equal(probs, [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
    dx = softmax_backward(np.array([[1.0, 2.0, 3.0]] * 2, dtype), cache)
    assert np.array_equal(dx, [[-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])


def test_dx_sums_to_zero():
    _, cache = softmax_forward(X)
    dx = softmax_backward(np.random.default_rng(1).standard_normal(X.shape), cache)
    assert np.allclose(dx.sum(axis=-1), 0.0, rtol=0, atol=1e-15)
