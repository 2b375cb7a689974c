"""What every op promises: its gradients are right, its dtype stays, and nothing passed in is touched."""

import numpy as np
import pytest

from minilora import ops
from minilora.gradcheck import check_op
from minilora.ops import fast
from ops.cases import CASES, array_leaves, float32_case

each_op = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
each_analytic_op = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if case.analytic]
)


def upstream(y):
    return np.asarray(np.random.default_rng(2).standard_normal(y.shape)).astype(y.dtype)


def bits(*values):
    """Every array among the values, down to the bit."""
    return [np.asarray(value).tobytes() for value in values if value is not None]


def test_every_op_has_a_case():
    pairs = {name.removesuffix("_forward") for name in ops.__all__ if name.endswith("_forward")}
    assert {name.replace(",", "").split()[0] for name in CASES} == pairs


@each_op
def test_backward_is_the_slope_of_forward(case):
    errors = case.check(check_op)
    assert set(errors) == set(case.names) and max(errors.values()) <= 1e-7


@each_analytic_op
def test_backward_agrees_with_the_complex_step_to_rounding(case):
    errors = case.check(check_op, method="complex", bound=1e-13)
    assert set(errors) == set(case.names)


@each_op
def test_gradients_have_the_shape_of_what_they_belong_to(case):
    y, cache = case.run()
    shapes = [grad.shape for grad in case.gradients(upstream(y), cache)]
    assert shapes == [case.arrays[name].shape for name in case.names]


@each_op
def test_float32_in_gives_float32_out(case):
    case = float32_case(case)
    y, cache = case.run()
    assert y.dtype == np.float32
    assert {grad.dtype for grad in case.gradients(upstream(y), cache)} == {np.dtype(np.float32)}


def test_a_scale_of_numpys_leaves_float32_alone():
    """NumPy multiplies a float32 array and a numpy.float64 in float64."""
    x, W, A, B = (np.ones(shape, "float32") for shape in ((3, 2), (2, 2), (1, 2), (2, 1)))
    ids, scale = np.array([0, 1]), np.float64(2)
    results = (
        fast.lora_linear_forward(x, W, None, A, B, scale)[0],
        fast.lora_fa_linear_forward(x, W, None, A, B, scale)[0],
        fast.lora_embedding_forward(ids, W, A, B, scale)[0],
    )
    assert {y.dtype for y in results} == {np.dtype("float32")}


@each_op
def test_float32_agrees_with_float64(case):
    y, cache = case.run()
    y32, cache32 = float32_case(case).run()
    assert np.allclose(y32, y, rtol=1e-4, atol=1e-5)
    dy = upstream(y)
    for grad32, grad in zip(case.gradients(dy.astype(np.float32), cache32), case.gradients(dy, cache), strict=True):
        assert np.allclose(grad32, grad, rtol=1e-4, atol=1e-5)


@each_op
def test_nothing_passed_in_is_changed(case):
    inputs = [*case.arrays.values(), *case.args]
    before = bits(*inputs)
    y, cache = case.run()
    assert bits(*inputs) == before

    dy = upstream(y)
    before = bits(*inputs, *array_leaves(cache), dy)
    case.backward(dy, cache)
    assert bits(*inputs, *array_leaves(cache), dy) == before


@each_op
def test_results_have_memory_of_their_own(case):
    inputs = [*case.arrays.values(), *(arg for arg in case.args if isinstance(arg, np.ndarray))]
    y, cache = case.run()
    assert not any(np.shares_memory(y, array) for array in inputs)

    dy = upstream(y)
    grads = case.gradients(dy, cache)
    others = [*inputs, y, dy, *array_leaves(cache)]
    for i, grad in enumerate(grads):
        assert not any(np.shares_memory(grad, other) for other in (*others, *grads[:i]))


@each_op
def test_a_backward_twice_gives_the_same_bits(case):
    y, cache = case.run()
    dy = upstream(y)
    assert bits(*case.gradients(dy, cache)) == bits(*case.gradients(dy, cache))


LEADING = [
    "linear",
    "lora_linear",
    "lora_fa_linear",
    "vera_linear",
    "adalora_linear",
    "layernorm",
    "rmsnorm",
    "gelu_tanh",
    "gelu_exact",
    "silu",
    "tanh",
    "softmax",
]


@pytest.mark.parametrize("name", LEADING)
def test_leading_axes_are_rows(name):
    """A (N, T, ...) input gives what its N T rows give, one at a time."""
    case = CASES[f"{name} (2, 3)"]
    x, *others = case.arrays.values()
    y, _ = case.run()
    for index in np.ndindex(2, 3):
        row, _ = case.forward(x[index], *others, *case.args)
        assert np.allclose(y[index], row, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["linear", "lora_linear", "layernorm", "rmsnorm", "softmax"])
def test_no_rows_give_no_rows(name):
    case = CASES[f"{name} (6,)"]
    x, *others = case.arrays.values()
    y, cache = case.forward(x[:0], *others, *case.args)
    dx, *_ = case.gradients(y, cache)
    assert len(y) == 0
    assert dx.shape == (0, 5)
