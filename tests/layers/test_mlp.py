import numpy as np
import pytest

from minilora.gradcheck import check_op
from minilora.layers import MLP, Activation
from minilora.ops import fast as ops

FORWARDS = {
    "gelu": ops.gelu_exact_forward,
    "gelu_tanh": ops.gelu_tanh_forward,
    "relu": ops.relu_forward,
    "silu": ops.silu_forward,
    "tanh": ops.tanh_forward,
}


@pytest.mark.parametrize("name", FORWARDS)
def test_the_activation_is_the_one_that_was_chosen(linear, normal, name):
    fc_in, fc_out, x = linear(3, 5), linear(5, 3), normal((2, 4, 3))
    y, _ = MLP(fc_in, fc_out, name).forward(x)
    h, _ = FORWARDS[name](fc_in.forward(x)[0])
    assert np.array_equal(y, fc_out.forward(h)[0])


@pytest.mark.parametrize("name", FORWARDS)
def test_the_gradient_goes_through_the_activation_that_was_chosen(linear, normal, name):
    layer = MLP(linear(3, 5), linear(5, 3), name)
    check_op(layer.forward, layer.backward, {"x": normal((2, 4, 3))}, rng=np.random.default_rng(1))


def test_another_activation_is_refused():
    with pytest.raises(ValueError, match="activation was 'silly'; it must be one of 'gelu', 'gelu_tanh', 'relu', "):
        Activation("silly")


def test_an_activation_learns_nothing():
    assert Activation("relu").parameters() == [] and not Activation("relu").trainable
