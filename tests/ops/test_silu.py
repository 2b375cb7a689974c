import math

import numpy as np
import pytest

from minilora.ops.fast import silu_backward, silu_forward, silu_gate_backward, silu_gate_forward

X = np.linspace(-8.0, 8.0, 33)


def test_y_is_the_literal_formula():
    y, _ = silu_forward(X)
    assert np.allclose(y, [x / (1.0 + math.exp(-x)) for x in X], rtol=0, atol=1e-15)


def test_values_of_the_published_function():
    y, _ = silu_forward(np.array([0.0, 1.0, -1.0]))
    assert y.tolist() == pytest.approx([0.0, 0.7310585786300049, -0.2689414213699951], abs=1e-16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_do_not_overflow(dtype):
    x = np.array([-1e30, -1e4, 0.0, 1e4, 1e30], dtype)
    y, cache = silu_forward(x)
    assert np.array_equal(y, np.array([0.0, 0.0, 0.0, 1e4, 1e30], dtype))
    assert silu_backward(np.ones_like(x), cache).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    y, cache = silu_gate_forward(x, np.ones_like(x))
    assert np.array_equal(y, np.array([0.0, 0.0, 0.0, 1e4, 1e30], dtype))
    assert silu_gate_backward(np.ones_like(x), cache)[0].tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_a_gate_is_the_literal_formula():
    up = np.random.default_rng(0).standard_normal(33)
    y, _ = silu_gate_forward(X, up)
    assert np.allclose(y, [x / (1.0 + math.exp(-x)) * u for x, u in zip(X, up, strict=True)], rtol=0, atol=1e-14)


def test_a_gate_keeps_nothing_but_its_arguments():
    up = np.ones_like(X)
    _, cache = silu_gate_forward(X, up)
    assert cache.gate is X and cache.up is up and len(cache) == 2
