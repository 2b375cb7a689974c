"""AdamW's step: the page against its engine, and both against means that are written out as sums."""

import numpy as np
import pytest

from minilora import ops
from minilora.ops import fast

SETTINGS = {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3}
each_side = pytest.mark.parametrize("step", [ops.adamw_inplace, fast.adamw_inplace.engine], ids=["page", "engine"])


@pytest.fixture
def computed_by():
    """Not twice: each test asks both."""


def after(step, dtype="float64", steps=4, shape=(3, 5), **settings):
    """data, m and v after some steps, and the gradients that came."""
    rng = np.random.default_rng(0)
    data, m, v = rng.standard_normal(shape).astype(dtype), np.zeros(shape, dtype), np.zeros(shape, dtype)
    grads = rng.standard_normal((steps, *shape)).astype(dtype)
    for t, grad in enumerate(grads, 1):
        step(data, grad, m, v, t, **{**SETTINGS, **settings})
    return data, m, v, grads


@each_side
def test_m_hat_and_v_hat_are_weighted_means_of_what_came(step):
    """The weights of the gradients, newest first, are proportional to 1, beta, beta^2, ..., and add up to 1."""
    data, m, v, grads = after(step)
    expected = np.random.default_rng(0).standard_normal(data.shape)
    for t in range(1, len(grads) + 1):
        newest_first = grads[:t][::-1]
        m_hat = np.average(newest_first, axis=0, weights=SETTINGS["beta1"] ** np.arange(t))
        v_hat = np.average(newest_first**2, axis=0, weights=SETTINGS["beta2"] ** np.arange(t))
        expected -= SETTINGS["lr"] * m_hat / (np.sqrt(v_hat) + SETTINGS["eps"])
    assert np.allclose(data, expected, rtol=1e-12, atol=0)
    assert np.allclose(m / (1 - SETTINGS["beta1"] ** 4), m_hat) and np.allclose(v / (1 - SETTINGS["beta2"] ** 4), v_hat)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("shape", [(3, 5), (7,), (1,), (0,)])
def test_the_engine_does_what_the_page_does(dtype, bound, shape):
    page, engine = after(ops.adamw_inplace, dtype, shape=shape), after(fast.adamw_inplace.engine, dtype, shape=shape)
    for ours, theirs in zip(page[:3], engine[:3], strict=True):
        assert theirs.dtype == np.dtype(dtype)
        assert np.linalg.norm(ours - theirs) <= bound * np.linalg.norm(ours)


@each_side
@pytest.mark.parametrize("mistake", [{"t": 1}, {"beta1": 0.95, "beta2": 0.8}, {"eps": 1e-2}, {"lr": 0.02}])
def test_a_wrong_step_is_seen(step, mistake):
    def wrong(data, grad, m, v, t, **settings):
        step(data, grad, m, v, mistake.get("t", t), **settings | {k: x for k, x in mistake.items() if k != "t"})

    assert not np.allclose(after(wrong)[0], after(step)[0], rtol=1e-6)


@each_side
def test_the_gradient_stays(step):
    grad = np.ones(3)
    step(np.zeros(3), grad, np.zeros(3), np.zeros(3), 1, **SETTINGS)
    assert np.array_equal(grad, np.ones(3))


def test_the_context_asks_the_page():
    data, m, v = np.zeros(2, "float32"), np.zeros(2, "float32"), np.zeros(2, "float32")
    with ops.plain_ops():
        fast.adamw_inplace(data, np.ones(2, "float32"), m, v, 1, **SETTINGS)
    assert np.allclose(data, -SETTINGS["lr"] / (1 + SETTINGS["eps"])) and data.dtype == np.float32
