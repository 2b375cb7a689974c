"""ReLU: at zero, where it has no slope, the gradient is zero, as PyTorch's."""

import numpy as np

from minilora.ops.fast import relu_backward, relu_forward


def test_the_slope_at_zero_is_zero():
    y, cache = relu_forward(np.array([-2.0, 0.0, 3.0]))
    assert y.tolist() == [0.0, 0.0, 3.0]
    assert relu_backward(np.array([5.0, 5.0, 5.0]), cache).tolist() == [0.0, 0.0, 5.0]
