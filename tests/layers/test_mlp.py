import numpy as np
import pytest

from minilora.gradcheck import check_op
from minilora.layers import MLP
from minilora.ops.fast import gelu_exact_forward, gelu_tanh_forward

GELUS = {"tanh": gelu_tanh_forward, "exact": gelu_exact_forward}


@pytest.mark.parametrize("gelu", GELUS)
def test_the_gelu_is_the_one_that_was_chosen(linear, normal, gelu):
    fc_in, fc_out, x = linear(3, 5), linear(5, 3), normal((2, 4, 3))
    y, _ = MLP(fc_in, fc_out, gelu).forward(x)
    h, _ = GELUS[gelu](fc_in.forward(x)[0])
    assert np.array_equal(y, fc_out.forward(h)[0])


@pytest.mark.parametrize("gelu", GELUS)
def test_the_gradient_goes_through_the_gelu_that_was_chosen(linear, normal, gelu):
    layer = MLP(linear(3, 5), linear(5, 3), gelu)
    check_op(layer.forward, layer.backward, {"x": normal((2, 4, 3))}, rng=np.random.default_rng(1))


def test_another_gelu_is_refused(linear):
    with pytest.raises(ValueError, match="gelu was 'relu'; it may be 'tanh' or 'exact'"):
        MLP(linear(3, 5), linear(5, 3), "relu")
