import numpy as np
import pytest

from minilora.ops.fast import layernorm_backward, layernorm_forward


@pytest.fixture
def x():
    return 3.0 * np.random.default_rng(0).standard_normal((2, 3, 50)) + 7.0


def test_y_has_mean_0_and_variance_1(x):
    y, _ = layernorm_forward(x, np.ones(50), np.zeros(50), eps=0.0)
    assert np.allclose(y.mean(axis=-1), 0.0, rtol=0, atol=1e-14)
    assert np.allclose(y.var(axis=-1), 1.0, rtol=0, atol=1e-14)


def test_y_is_the_literal_formula(x):
    rng = np.random.default_rng(1)
    gain, bias = rng.standard_normal(50), rng.standard_normal(50)
    y, _ = layernorm_forward(x, gain, bias, eps=0.1)
    mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    assert np.allclose(y, gain * (x - mean) / np.sqrt(var + 0.1) + bias, rtol=0, atol=1e-13)


def test_a_row_without_variance_is_divided_by_the_root_of_the_usual_eps():
    y, cache = layernorm_forward(np.full((1, 50), 7.0), np.ones(50), np.full(50, 2.0))
    assert np.allclose(y, 2.0, rtol=0, atol=1e-12)
    assert cache.inv_std.item() == pytest.approx(1e-5**-0.5, rel=1e-12)


def test_a_shift_and_a_stretch_of_x_are_not_seen(x):
    ones, zeros = np.ones(50), np.zeros(50)
    assert np.allclose(
        layernorm_forward(4.0 * x - 9.0, ones, zeros, eps=0.0)[0],
        layernorm_forward(x, ones, zeros, eps=0.0)[0],
        rtol=0,
        atol=1e-13,
    )


def test_dx_lies_along_neither(x):
    _, cache = layernorm_forward(x, np.full(50, 2.0), np.zeros(50), eps=0.0)
    dx, _, _ = layernorm_backward(np.random.default_rng(1).standard_normal(x.shape), cache)
    assert np.allclose(dx.sum(axis=-1), 0.0, rtol=0, atol=1e-13)
    assert np.allclose((dx * x).sum(axis=-1), 0.0, rtol=0, atol=1e-12)


def test_a_constant_row_gives_the_bias():
    y, _ = layernorm_forward(np.full((2, 5), 3.0), np.full(5, 2.0), np.arange(5.0))
    assert np.allclose(y, np.arange(5.0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("C", [768, 1000, 7])
@pytest.mark.parametrize("value", [11000.0, 0.1, -1234.567])
def test_a_constant_row_of_float32_is_zero_but_for_nothing(value, C):
    """A mean that is off by one rounding, divided by the root of eps, would be a third of a deviation."""
    x = np.full((3, C), value, "float32")
    y, cache = layernorm_forward(x, np.ones(C, "float32"), np.zeros(C, "float32"))
    assert np.abs(y).max() <= 1e-5 and np.abs(cache.xhat).max() <= 1e-5


def test_a_large_mean_costs_float32_nothing():
    x = (1000.0 + np.random.default_rng(0).standard_normal((8, 768))).astype("float32")
    one, zero = np.ones(768, "float32"), np.zeros(768, "float32")
    exact, _ = layernorm_forward(x.astype("float64"), one.astype("float64"), zero.astype("float64"))
    assert np.abs(layernorm_forward(x, one, zero)[0] - exact).max() < 1e-6
