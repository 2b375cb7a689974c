import math

import numpy as np
import pytest

from minilora.ops.fast import gelu_exact_forward, gelu_tanh_forward

X = np.linspace(-8.0, 8.0, 401)


def exact(x):
    return 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0)))


def gpt2(x):
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize(("forward", "formula"), [(gelu_exact_forward, exact), (gelu_tanh_forward, gpt2)])
def test_y_is_the_literal_formula(forward, formula):
    assert np.allclose(forward(X)[0], [formula(x) for x in X.tolist()], rtol=0, atol=1e-14)


@pytest.mark.parametrize("forward", [gelu_exact_forward, gelu_tanh_forward])
def test_far_out_it_is_zero_or_x(forward):
    y, cache = forward(np.array([-1e4, 0.0, 1e4]))
    assert y.tolist() == [0.0, 0.0, 1e4]
    assert np.allclose(cache.slope, [0.0, 0.5, 1.0], rtol=0, atol=1e-15)


def test_the_two_forms_differ_by_less_than_half_a_thousandth():
    difference = np.abs(gelu_exact_forward(X)[0] - gelu_tanh_forward(X)[0]).max()
    assert 1e-4 < difference < 5e-4


def test_the_memory_layout_of_x_does_not_matter():
    x = np.random.default_rng(0).standard_normal((5, 7))
    for layout in (np.asfortranarray(x), x.T.copy().T, np.stack([x, x])[1]):
        assert np.array_equal(gelu_tanh_forward(layout)[0], gelu_tanh_forward(x)[0])
        assert np.array_equal(gelu_tanh_forward(layout)[1].slope, gelu_tanh_forward(x)[1].slope)
