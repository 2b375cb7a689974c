import math

import numpy as np
import pytest

from minilora.ops.fast import cross_entropy_backward, cross_entropy_forward

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((2, 3, 7))
TARGETS = RNG.integers(0, 7, (2, 3))
MASK = np.array([[True, False, True], [False, False, True]])


def literal(logits, target):
    """-log softmax(logits)[target]"""
    return -math.log(math.exp(logits[target]) / sum(math.exp(z) for z in logits))


def places(mask):
    return [i for i in np.ndindex(2, 3) if mask is None or mask[i]]


ONE = np.arange(6).reshape(2, 3) == 4  # a mean of one


@pytest.mark.parametrize("mask", [None, MASK, ONE], ids=["everywhere", "mask", "one position"])
def test_the_loss_is_the_mean_of_the_literal_formula(mask):
    loss, _ = cross_entropy_forward(LOGITS, TARGETS, mask)
    losses = [literal(LOGITS[i], TARGETS[i]) for i in places(mask)]
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-14)


@pytest.mark.parametrize("mask", [None, MASK], ids=["everywhere", "mask"])
def test_the_gradient_is_the_mean_of_probs_minus_onehot(mask):
    _, cache = cross_entropy_forward(LOGITS, TARGETS, mask)
    expected = np.zeros(LOGITS.shape)
    for i in places(mask):
        expected[i] = (np.exp(LOGITS[i]) / np.exp(LOGITS[i]).sum() - np.eye(7)[TARGETS[i]]) / len(places(mask))
    assert np.allclose(cross_entropy_backward(1.0, cache), expected, rtol=0, atol=1e-15)


def test_what_does_not_count_changes_nothing():
    loss, _ = cross_entropy_forward(LOGITS, TARGETS, MASK)
    logits, targets = LOGITS.copy(), TARGETS.copy()
    logits[~MASK], targets[~MASK] = 50.0, 0
    assert cross_entropy_forward(logits, targets, MASK)[0] == loss


@pytest.mark.parametrize(("targets", "mask"), [(TARGETS, MASK & False), (TARGETS[:, :0], None)])
def test_if_nothing_counts_the_loss_and_its_gradient_are_zero(targets, mask):
    loss, cache = cross_entropy_forward(LOGITS[:, : targets.shape[1]], targets, mask)
    assert loss == 0.0
    assert not cross_entropy_backward(1.0, cache).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("target", "expected"), [(0, 0.0), (1, 2e4), (2, 1e4)])
def test_extreme_logits_stay_finite(dtype, target, expected):
    loss, cache = cross_entropy_forward(np.array([[1e4, -1e4, 0.0]], dtype), np.array([target]))
    assert loss == expected
    assert np.isfinite(cross_entropy_backward(1.0, cache)).all()


def test_equal_logits_cost_log_V():
    loss, _ = cross_entropy_forward(np.zeros((4, 13)), np.arange(4))
    assert loss == pytest.approx(math.log(13), rel=1e-15)


def test_the_loss_is_a_scalar_of_the_dtype_of_the_logits():
    loss, _ = cross_entropy_forward(LOGITS.astype(np.float32), TARGETS)
    assert loss.shape == () and loss.dtype == np.float32


@pytest.mark.parametrize(
    ("targets", "mask", "message"),
    [
        (np.zeros((3, 2), int), None, r"targets had shape \(3, 2\); it must be that of the positions, \(2, 3\)"),
        (np.zeros(1, int), None, r"targets had shape \(1,\)"),
        (np.zeros((2, 3), int), np.ones((2, 1), bool), r"loss_mask had shape \(2, 1\)"),
        (np.full((2, 3), -1), None, "targets ran from -1 to -1; each must be from 0 to 3"),
        (np.full((2, 3), 4), None, "targets ran from 4 to 4; each must be from 0 to 3"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets, mask, message):
    with pytest.raises(ValueError, match=message):
        cross_entropy_forward(np.zeros((2, 3, 4)), targets, mask)
