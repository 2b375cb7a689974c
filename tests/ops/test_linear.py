import numpy as np
import pytest

from minilora.ops.fast import linear_backward, linear_forward


@pytest.fixture
def point():
    rng = np.random.default_rng(0)
    x, W, bias = rng.standard_normal((2, 3, 5)), rng.standard_normal((4, 5)), rng.standard_normal(4)
    return x, W, bias, rng.standard_normal((2, 3, 4))


def test_y_is_a_sum_over_inputs(point):
    x, W, bias, _ = point
    y, _ = linear_forward(x, W, bias)
    assert y[1, 2, 3] == pytest.approx(sum(W[3, i] * x[1, 2, i] for i in range(5)) + bias[3], rel=1e-14)


def test_without_a_bias_there_is_no_dbias(point):
    x, W, bias, dy = point
    y, cache = linear_forward(x, W)
    assert np.allclose(y, linear_forward(x, W, bias)[0] - bias, rtol=0, atol=1e-14)
    assert linear_backward(dy, cache)[2] is None


def test_a_dimension_that_does_not_fit_is_refused(point):
    x, W, _, _ = point
    with pytest.raises(ValueError, match="matmul"):
        linear_forward(x, W.T)
