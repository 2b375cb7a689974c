"""The fused head: what linear and cross_entropy give one after the other, without the logits of all rows."""

import numpy as np
import pytest

from device_array import to_fake_device
from minilora.ops import (
    cross_entropy_backward,
    cross_entropy_forward,
    linear_cross_entropy,
    linear_cross_entropy_backward,
    linear_cross_entropy_forward,
    linear_dW,
    linear_dx,
    linear_forward,
)

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((11, 5)), RNG.standard_normal((7, 5))
TARGETS = RNG.integers(0, 7, 11)


@pytest.mark.parametrize("rows_a_block", [1, 4, 11, 100])
def test_blocks_give_the_two_ops(monkeypatch, rows_a_block):
    monkeypatch.setattr(linear_cross_entropy, "LOGITS_BYTES", rows_a_block * 7 * X.itemsize)
    logits, linear_cache = linear_forward(X, W)
    plain, plain_cache = cross_entropy_forward(logits, TARGETS)
    dlogits = cross_entropy_backward(0.3, plain_cache)
    loss, cache = linear_cross_entropy_forward(X, W, TARGETS)
    dx, dW = linear_cross_entropy_backward(0.3, cache)
    np.testing.assert_allclose(loss, plain, rtol=1e-14)
    np.testing.assert_allclose(dx, linear_dx(dlogits, linear_cache), atol=1e-15)
    np.testing.assert_allclose(dW, linear_dW(dlogits, linear_cache), atol=1e-15)


@pytest.mark.parametrize(("limit", "place"), [("LOGITS_BYTES", np.asarray), ("LOGITS_BYTES_ON_GPU", to_fake_device)])
def test_a_block_has_as_many_rows_as_fit_its_bytes(monkeypatch, limit, place):
    plain, sizes = linear_cross_entropy._losses_and_dlogits, []

    def noting(logits, *rest):
        sizes.append(len(logits))
        return plain(logits, *rest)

    monkeypatch.setattr(linear_cross_entropy, "_losses_and_dlogits", noting)
    monkeypatch.setattr(linear_cross_entropy, limit, 4 * 7 * X.itemsize)
    linear_cross_entropy_forward(place(X), place(W), place(TARGETS))
    assert sizes == [4, 4, 3]


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
        (TARGETS[:3], "targets had shape .3,.; x has 11 rows"),
        (TARGETS + 1, "targets ran from .* to 7; each may be from 0 to 6"),
        (TARGETS - 9, "targets ran from -9 to"),
    ],
)
def test_wrong_targets(targets, message):
    with pytest.raises(ValueError, match=message):
        linear_cross_entropy_forward(X, W, targets)
