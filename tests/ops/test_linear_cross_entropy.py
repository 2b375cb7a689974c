"""The fused head: what linear and cross_entropy give one after the other, without the logits of all rows."""

import numpy as np
import pytest

from minilora.ops.fast import (
    cross_entropy_backward,
    cross_entropy_forward,
    linear_backward,
    linear_cross_entropy_backward,
    linear_cross_entropy_forward,
    linear_forward,
)

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((11, 5)), RNG.standard_normal((7, 5))
TARGETS = RNG.integers(0, 7, 11)


def test_loss_and_gradients_are_those_of_the_two_ops():
    logits, linear_cache = linear_forward(X, W)
    plain, plain_cache = cross_entropy_forward(logits, TARGETS)
    loss, cache = linear_cross_entropy_forward(X, W, TARGETS)
    dx, dW, _ = linear_backward(cross_entropy_backward(0.3, plain_cache), linear_cache)
    np.testing.assert_allclose(loss, plain, rtol=1e-14)
    for grad, expected in zip(linear_cross_entropy_backward(0.3, cache), (dx, dW), strict=True):
        np.testing.assert_allclose(grad, expected, atol=1e-15)


def test_only_what_is_wanted_is_computed():
    loss, cache = linear_cross_entropy_forward(X, W, TARGETS, need_dx=False, need_dW=False)
    assert cache.dx is None and cache.dW is None
    assert loss == linear_cross_entropy_forward(X, W, TARGETS)[0]
    assert linear_cross_entropy_forward(X, W, TARGETS, need_dW=False)[1].dW is None


@pytest.mark.parametrize("need_dx", [True, False])
def test_one_gradient_alone_is_what_it_is_beside_the_other(need_dx):
    both = linear_cross_entropy_forward(X, W, TARGETS)[1]
    loss, alone = linear_cross_entropy_forward(X, W, TARGETS, need_dx=need_dx, need_dW=not need_dx)
    wanted, other = ("dx", "dW") if need_dx else ("dW", "dx")
    assert np.array_equal(getattr(alone, wanted), getattr(both, wanted)) and getattr(alone, other) is None
    dx, dW = linear_cross_entropy_backward(0.5, alone)
    assert (dx is None, dW is None) == (not need_dx, need_dx)
    assert loss == linear_cross_entropy_forward(X, W, TARGETS)[0]


def test_no_row_has_loss_zero():
    loss, cache = linear_cross_entropy_forward(X[:0], W, TARGETS[:0])
    assert loss == 0.0 and cache.dx.shape == (0, 5) and not cache.dW.any()


def test_it_does_not_overflow():
    loss, _ = linear_cross_entropy_forward(1e4 * np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), np.arange(2))
    assert loss == 0.0


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (TARGETS[:3], "targets had shape .3,.; it must be that of the positions, .11,."),
        (TARGETS + 1, "targets ran from .* to 7; each must be from 0 to 6"),
        (TARGETS - 9, "targets ran from -9 to"),
    ],
)
def test_wrong_targets(targets, message):
    with pytest.raises(ValueError, match=message):
        linear_cross_entropy_forward(X, W, targets)
