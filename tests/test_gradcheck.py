"""The gradient check: its oracles, what it says when a gradient is wrong, and the checks that lie where it does not.

That wrong backwards of every op fail is in ops/test_mutants.py; check_model is in models/test_gpt_gradients.py.
"""

import math
import re

import numpy as np
import pytest

from minilora import ops
from minilora.gradcheck import GradientError, check_model, check_op, complex_step_gradient, numerical_gradient
from minilora.parameter import Module, Parameter


def rng(seed=0):
    return np.random.default_rng(seed)


X = rng().standard_normal((3, 4))


# ---- the oracles


def test_numerical_gradient_of_a_quadratic():
    x, S = rng(1).standard_normal(5), rng(2).standard_normal((5, 5))
    assert np.allclose(numerical_gradient(lambda x: x @ S @ x, x), (S + S.T) @ x, rtol=0, atol=1e-9)


def test_numerical_gradient_weighs_with_dy():
    dy = rng(1).standard_normal(X.shape)
    assert np.allclose(numerical_gradient(lambda x: x**2, X, dy), 2.0 * X * dy, rtol=0, atol=1e-9)


def test_numerical_gradient_errs_by_the_square_of_h():
    errors = [abs(numerical_gradient(np.exp, np.zeros(1), h=h)[0] - 1.0) for h in (1e-2, 1e-3)]
    assert errors[0] / errors[1] == pytest.approx(100.0, rel=0.01)


@pytest.mark.parametrize("gradient", [numerical_gradient, complex_step_gradient])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3, 4)])
def test_a_gradient_has_the_shape_of_x_and_leaves_x_alone(gradient, shape):
    x = np.asarray(rng().standard_normal(shape))
    before = x.tobytes()
    dx = gradient(lambda x: 3.0 * x, x, np.ones(shape))
    assert x.tobytes() == before
    assert dx.shape == shape
    assert np.allclose(dx, 3.0, rtol=0, atol=1e-9)


BUFFER = np.empty(X.shape)
GIVES_THE_SAME_MEMORY = {
    "x itself": (lambda x: x, np.ones_like(X)),
    "a view": (lambda x: x.T, np.ones_like(X)),
    "a part": (lambda x: x[1:], np.repeat([[0.0], [1.0], [1.0]], 4, axis=1)),
    "a buffer of its own": (lambda x: np.multiply(x.real, 3.0, out=BUFFER), np.full_like(X, 3.0)),
    "x, changed in place": (lambda x: np.multiply(x, 2.0, out=x), np.full_like(X, 2.0)),
}


@pytest.mark.parametrize(("f", "expected"), GIVES_THE_SAME_MEMORY.values(), ids=GIVES_THE_SAME_MEMORY.keys())
def test_a_function_may_return_its_argument_a_view_or_one_buffer(f, expected):
    assert np.allclose(numerical_gradient(f, X), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["x itself", "a view", "a part", "x, changed in place"])
def test_the_complex_step_holds_for_them_too(name):
    f, expected = GIVES_THE_SAME_MEMORY[name]
    assert np.allclose(complex_step_gradient(f, X), expected, rtol=0, atol=1e-14)


def test_an_infinite_gradient_of_a_model_fails():
    class Square(Module):
        """The logits are rows of a table; the gradient that it gives is infinite in one entry."""

        def __init__(self):
            self.table = Parameter(rng(3).standard_normal((4, 4)))

        def loss(self, ids):
            return self.table.data[ids].sum(), ids

        def backward_loss(self, dloss, ids):
            self.table.accumulate(np.where(np.arange(16).reshape(4, 4) == 5, np.inf, 0.0))

    with pytest.raises(GradientError, match="table: backward says -?inf"):
        check_model(Square(), np.array([[0, 1]]), rng=rng())


@pytest.mark.parametrize(
    ("f", "slope"),
    [(np.exp, np.exp), (np.tanh, lambda x: 1.0 - np.tanh(x) ** 2), (lambda x: x**3, lambda x: 3.0 * x**2)],
    ids=["exp", "tanh", "cube"],
)
def test_the_complex_step_is_exact_to_rounding(f, slope):
    assert np.allclose(complex_step_gradient(f, X), slope(X), rtol=1e-14, atol=0)


# ---- check_op: what it says


def triple(x, W=None):
    return 3.0 * x + (0.0 if W is None else W), None


def wrong_at_1_2(dy, cache):
    dx = 3.0 * dy
    dx[1, 2] += 0.25
    return dx


def test_the_error_names_the_array_the_index_both_numbers_and_the_bound():
    slope = 3.0 * rng(7).standard_normal(X.shape)[1, 2]
    with pytest.raises(GradientError) as error:
        check_op(triple, wrong_at_1_2, {"weights": X}, rng=rng(7))
    message = str(error.value)
    assert message.startswith("the gradient of weights is wrong, most of all at weights[1, 2]: ")
    says, is_, relative, bound = map(float, re.findall(r"-?\d[\d.e+-]*(?=[;,]|$)", message.split("]: ")[1]))
    assert says == pytest.approx(slope + 0.25, rel=1e-8)
    assert is_ == pytest.approx(slope, rel=1e-8)
    assert relative == pytest.approx(0.25 / np.linalg.norm(3.0 * rng(7).standard_normal(X.shape)), rel=0.1)
    assert bound == 1e-7


def test_a_gradient_error_is_a_failed_assertion():
    assert issubclass(GradientError, AssertionError)


def test_what_passes_is_returned_with_its_errors():
    errors = check_op(triple, lambda dy, cache: (3.0 * dy, dy), {"x": X, "W": X.copy()}, rng=rng())
    assert list(errors) == ["x", "W"]
    assert 0.0 < max(errors.values()) <= 1e-7


def test_the_bound_is_what_decides():
    def slightly_wrong(dy, cache):
        return 3.001 * dy

    assert check_op(triple, slightly_wrong, {"x": X}, rng=rng(), bound=1e-3)["x"] == pytest.approx(1 / 3001, rel=1e-3)
    with pytest.raises(GradientError, match=re.escape("norm-relative error 0.00033, bound 0.0001")):
        check_op(triple, slightly_wrong, {"x": X}, rng=rng(), bound=1e-4)


MALFORMED = {
    "too few": (lambda dy, cache: 3.0 * dy, "backward returned 1 gradients; expected 2: x, W"),
    "too many": (lambda dy, cache: (3.0 * dy, dy, dy), "backward returned 3 gradients; expected 2: x, W"),
    "None": (lambda dy, cache: (3.0 * dy, None), "the gradient of W has shape None; W has shape (3, 4)"),
    "another shape": (lambda dy, cache: (3.0 * dy, dy.T), "the gradient of W has shape (4, 3); W has shape (3, 4)"),
    "nan": (lambda dy, cache: (3.0 * dy, dy * math.nan), "the gradient of W is not finite"),
    "infinite": (lambda dy, cache: (3.0 * dy, dy * math.inf), "the gradient of W is not finite"),
}


@pytest.mark.parametrize(("backward", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_cannot_be_a_gradient_is_refused(backward, message):
    with pytest.raises(GradientError, match=re.escape(message)):
        check_op(triple, backward, {"x": X, "W": X}, rng=rng())


def test_a_forward_that_is_not_finite_fails():
    with pytest.raises(GradientError, match="x"):
        check_op(lambda x: (x * math.nan, None), lambda dy, cache: dy, {"x": X}, rng=rng())


@pytest.mark.parametrize("name", ["x", "W"])
def test_float32_is_refused_by_name(name):
    arrays = {"x": X, "W": X}
    arrays[name] = arrays[name].astype(np.float32)
    with pytest.raises(TypeError, match=f"{name} was float32; gradients are checked in float64"):
        check_op(triple, lambda dy, cache: (3.0 * dy, dy), arrays, rng=rng())


def test_a_constant_needs_neither_a_gradient_nor_float64():
    errors = check_op(triple, lambda dy, cache: 3.0 * dy, {"x": X, "W": X.astype(np.float32)}, rng=rng(), wrt=("x",))
    assert list(errors) == ["x"]


# ---- checks that lie


def zero_backward(dy, cache):
    return np.zeros_like(dy)


def test_a_dy_of_ones_passes_a_softmax_backward_of_zero_and_a_random_dy_does_not():
    ones = np.ones_like(X)
    lie = numerical_gradient(lambda x: ops.softmax_forward(x)[0], X, ones)
    assert np.allclose(zero_backward(ones, None), lie, rtol=0, atol=1e-9)
    with pytest.raises(GradientError):
        check_op(ops.softmax_forward, zero_backward, {"x": X}, rng=rng())


def test_an_absolute_tolerance_passes_a_small_gradient_of_the_wrong_sign_and_a_relative_one_does_not():
    def small(x):
        return 1e-4 * x, None

    def wrong_sign(dy, cache):
        return -1e-4 * dy

    dy = rng().standard_normal(X.shape)
    assert np.allclose(wrong_sign(dy, None), numerical_gradient(lambda x: small(x)[0], X, dy), rtol=0, atol=1e-2)
    with pytest.raises(GradientError):
        check_op(small, wrong_sign, {"x": X}, rng=rng())


def test_centred_differences_in_float32_fail_a_correct_backward():
    _, cache = ops.tanh_forward(X)
    dy = rng(1).standard_normal(X.shape)
    slopes = numerical_gradient(lambda x: ops.tanh_forward(x)[0], X.astype(np.float32), dy)
    error = np.linalg.norm(slopes - ops.tanh_backward(dy, cache)) / np.linalg.norm(slopes)
    assert 1e-4 < error
    assert check_op(ops.tanh_forward, ops.tanh_backward, {"x": X}, rng=rng(1))["x"] <= 1e-7


def test_integers_have_no_slope():
    with pytest.raises(TypeError, match="x was int64; a slope needs floating-point numbers"):
        numerical_gradient(lambda x: x * x, np.arange(3))


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method was 'autograd'; it must be 'difference' or 'complex'"):
        check_op(ops.tanh_forward, ops.tanh_backward, {"x": np.ones(2)}, rng=None, method="autograd")
