import numpy as np
import pytest

from minilora.ops.fast import (
    linear_backward,
    linear_forward,
    lora_linear_backward,
    lora_linear_forward,
)

SCALE = 1.7


@pytest.fixture
def point():
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 3, 5), "W": (4, 5), "bias": (4,), "A": (2, 5), "B": (4, 2), "scale": None}
    return {name: SCALE if shape is None else rng.standard_normal(shape) for name, shape in shapes.items()}


@pytest.fixture
def dy():
    return np.random.default_rng(1).standard_normal((2, 3, 4))


def test_y_is_that_of_the_merged_weight(point):
    y, _ = lora_linear_forward(**point)
    merged, _ = linear_forward(point["x"], point["W"] + SCALE * point["B"] @ point["A"], point["bias"])
    assert np.allclose(y, merged, rtol=0, atol=1e-12)


def test_y_is_the_bases_to_the_bit_while_B_is_zero(point):
    y, _ = lora_linear_forward(**point | {"B": np.zeros((4, 2))})
    assert np.array_equal(y, linear_forward(point["x"], point["W"], point["bias"])[0])


def test_dA_is_zero_while_B_is_zero_and_dB_is_not(point, dy):
    _, cache = lora_linear_forward(**point | {"B": np.zeros((4, 2))})
    _, dA, dB = lora_linear_backward(dy, cache)
    assert not dA.any()
    assert dB.all()


def test_dA_and_dB_are_projections_of_the_full_gradient(point, dy):
    _, full_cache = linear_forward(point["x"], point["W"], point["bias"])
    _, G, _ = linear_backward(dy, full_cache)
    _, cache = lora_linear_forward(**point)
    _, dA, dB = lora_linear_backward(dy, cache)
    assert np.allclose(dB, SCALE * G @ point["A"].T, rtol=0, atol=1e-12)
    assert np.allclose(dA, SCALE * point["B"].T @ G, rtol=0, atol=1e-12)


def test_a_dropped_input_reaches_the_base_alone(point, dy):
    y, cache = lora_linear_forward(**point, dropout_mask=np.zeros((2, 3, 5)))
    dx, dA, _ = lora_linear_backward(dy, cache)
    assert np.array_equal(y, linear_forward(point["x"], point["W"], point["bias"])[0])
    assert np.allclose(dx, dy @ point["W"], rtol=0, atol=1e-14)
    assert not dA.any()


def test_the_cache_holds_h(point):
    _, cache = lora_linear_forward(**point)
    assert cache.h.shape == (2, 3, 2)
    assert np.allclose(cache.h, point["x"] @ point["A"].T, rtol=0, atol=1e-14)


def test_a_numpy_scale_leaves_float32_as_it_is():
    draw = np.random.default_rng(0)
    x, W, A, B = (draw.standard_normal(shape).astype(np.float32) for shape in ((3, 5), (4, 5), (2, 5), (4, 2)))
    y, cache = lora_linear_forward(x, W, None, A, B, np.float64(0.7))
    grads = lora_linear_backward(np.ones_like(y), cache)
    assert {str(a.dtype) for a in (y, *grads)} == {"float32"}
