"""DoRA's map: rows of the length m, a start that is the base's, and what a constant norm leaves out."""

import numpy as np
import pytest

from minilora.gradcheck import GradientError, check_op
from minilora.ops.fast import (
    dora_linear_backward,
    dora_linear_forward,
    dora_norm,
    linear_forward,
    row_norm,
)

SCALE = 1.7
SHAPES = {"x": (2, 3, 5), "W": (4, 5), "bias": (4,), "A": (2, 5), "B": (4, 2), "m": (4,)}


@pytest.fixture
def point():
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape) for name, shape in SHAPES.items()} | {"scale": SCALE}


@pytest.fixture
def dy():
    return np.random.default_rng(1).standard_normal((2, 3, 4))


def test_y_is_that_of_a_weight_whose_rows_have_the_length_m(point):
    y, _ = dora_linear_forward(**point)
    V = point["W"] + SCALE * point["B"] @ point["A"]
    W = point["m"][:, None] * V / np.linalg.norm(V, axis=1, keepdims=True)
    assert np.allclose(row_norm(W), np.abs(point["m"]), rtol=0, atol=1e-14)
    assert np.allclose(y, linear_forward(point["x"], W, point["bias"])[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_y_is_the_bases_to_the_bit_while_B_is_zero_and_m_the_norm_of_W(point, dtype):
    point = {name: value if name == "scale" else value.astype(dtype) for name, value in point.items()}
    start = point | {"B": np.zeros((4, 2), dtype), "m": row_norm(point["W"])}
    y, _ = dora_linear_forward(**start)
    assert np.array_equal(y, linear_forward(point["x"], point["W"], point["bias"])[0])


def test_without_a_bias_nothing_is_added(point):
    y, _ = dora_linear_forward(**point)
    without, _ = dora_linear_forward(**point | {"bias": None})
    assert np.allclose(without + point["bias"], y, rtol=0, atol=1e-14)


def test_a_norm_that_is_passed_changes_dA_and_dB_alone(point, dy):
    y, cache = dora_linear_forward(**point)
    norm = dora_norm(point["W"], point["A"], point["B"], SCALE)
    y_constant, cache_constant = dora_linear_forward(**point, norm=norm)
    assert np.array_equal(y, y_constant)
    exact, constant = dora_linear_backward(dy, cache), dora_linear_backward(dy, cache_constant)
    same = [np.array_equal(a, b) for a, b in zip(exact, constant, strict=True)]
    assert same == [True, False, False, True]  # dx, dA, dB, dm


def test_the_gradient_of_a_constant_norm_is_not_the_slope_of_the_whole(point):
    """The paper's section 4.3 is an approximation; a gradient check says so."""
    names = ("x", "A", "B", "m")

    def whole(x, A, B, m):
        y, cache = dora_linear_forward(x, point["W"], point["bias"], A, B, m, SCALE)
        return y, cache._replace(V=None)

    with pytest.raises(GradientError, match="the gradient of A is wrong"):
        check_op(whole, dora_linear_backward, {n: point[n] for n in names}, rng=np.random.default_rng(2))


def test_an_exact_dA_does_not_see_a_stretch_of_V(point, dy):
    """W' stays the same when V is stretched, so the exact gradient is orthogonal to what stretches B A alone."""
    at_zero_W = point | {"W": np.zeros((4, 5))}
    _, cache = dora_linear_forward(**at_zero_W)
    _, dA, dB, _ = dora_linear_backward(dy, cache)
    assert abs(np.sum(dA * point["A"])) < 1e-12 and abs(np.sum(dB * point["B"])) < 1e-12
    _, constant = dora_linear_forward(**at_zero_W, norm=cache.norm)
    assert abs(np.sum(dora_linear_backward(dy, constant)[1] * point["A"])) > 1e-3


def test_a_numpy_scale_leaves_float32_as_it_is(point):
    single = {name: value if name == "scale" else value.astype("float32") for name, value in point.items()}
    y, cache = dora_linear_forward(**single | {"scale": np.float64(0.7)})
    grads = dora_linear_backward(np.ones_like(y), cache)
    assert {str(a.dtype) for a in (y, *grads, dora_norm(cache.W, cache.A, cache.B, np.float64(0.7)))} == {"float32"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exact", [True, False])
def test_a_row_of_zeros_has_no_direction_so_that_y_is_its_bias(point, dy, dtype, exact):
    point = {name: value if name == "scale" else value.astype(dtype) for name, value in point.items()}
    point["W"][1] = point["B"][1] = 0.0
    norm = None if exact else dora_norm(point["W"], point["A"], point["B"], SCALE)
    y, cache = dora_linear_forward(**point, norm=norm)
    assert np.array_equal(y[..., 1], np.full((2, 3), point["bias"][1]))
    dx, dA, dB, dm = dora_linear_backward(dy.astype(dtype), cache)
    assert all(np.isfinite(grad).all() and grad.dtype == dtype for grad in (dx, dA, dB, dm))
    assert dm[1] == 0.0 and not dB[1].any()
