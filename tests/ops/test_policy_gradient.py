"""REINFORCE on policies that are small enough to list every answer: what holds in the mean is checked exactly."""

import itertools
import math

import numpy as np
import pytest

from minilora.gradcheck import numerical_gradient
from minilora.ops.fast import (
    cross_entropy_forward,
    episode_weights,
    leave_one_out,
    policy_gradient_backward,
    policy_gradient_forward,
)

V, T = 3, 2  # tokens, and their number in an answer
ANSWERS = np.array(list(itertools.product(range(V), repeat=T)))  # (9, T)
REWARDS = np.random.default_rng(0).random(len(ANSWERS))
THETA = np.random.default_rng(1).standard_normal(V + V * V)  # logits of the first token, and of the second after each


def logits_of(theta, answers=ANSWERS):
    """The logits of each answer's tokens, (n, T, V); the second token's depend on the first."""
    after = theta[V:].reshape(V, V)
    return np.stack([np.broadcast_to(theta[:V], (len(answers), V)), after[answers[:, 0]]], axis=1)


def probabilities(theta):
    logits = logits_of(theta)
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return np.exp(np.take_along_axis(log_probs, ANSWERS[..., None], axis=-1).sum(axis=(1, 2)))


def dtheta_of(answers, advantages):
    """The estimate that a batch of answers gives: the gradient of the loss with respect to theta."""
    everywhere = np.ones(answers.shape, dtype=bool)
    _, cache = policy_gradient_forward(logits_of(THETA, answers), answers, advantages, everywhere)
    dlogits = policy_gradient_backward(1.0, cache)  # (n, T, V)
    dafter = np.zeros((V, V))
    np.add.at(dafter, answers[:, 0], dlogits[:, 1])
    return np.concatenate([dlogits[:, 0].sum(axis=0), dafter.ravel()])


def expected_dtheta(advantages_of, S):
    """The mean of the estimate over all batches of S answers, each with its probability."""
    probs = probabilities(THETA)
    total = np.zeros_like(THETA)
    for batch in itertools.product(range(len(ANSWERS)), repeat=S):
        batch = list(batch)
        total += probs[batch].prod() * dtheta_of(ANSWERS[batch], advantages_of(REWARDS[batch]))
    return total


@pytest.fixture(scope="module")
def true_gradient():
    """Of the expected reward, by centred differences; it is to grow, and the loss to fall."""
    return -numerical_gradient(lambda theta: probabilities(theta) @ REWARDS, THETA)


def relative_error(estimate, truth):
    return np.linalg.norm(estimate - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize(
    ("S", "advantages"),
    [
        (1, lambda rewards: rewards),
        (1, lambda rewards: rewards - 5.0),
        (2, lambda rewards: rewards - 5.0),
        (2, leave_one_out),
        (3, leave_one_out),
    ],
    ids=["no baseline", "a constant", "a constant, two answers", "leave one out of two", "leave one out of three"],
)
def test_the_estimate_is_the_gradient_of_the_expected_reward(true_gradient, S, advantages):
    assert relative_error(expected_dtheta(advantages, S), true_gradient) < 1e-9


def test_a_baseline_with_the_answers_own_reward_makes_the_estimate_too_small(true_gradient):
    """GRPO's mean of all S answers: (S - 1) / S of the gradient."""
    estimate = expected_dtheta(lambda rewards: rewards - rewards.mean(), 3)
    assert relative_error(estimate, 2 / 3 * true_gradient) < 1e-9
    assert relative_error(estimate, true_gradient) > 0.3


@pytest.mark.parametrize(
    "wrong",
    [
        lambda rewards: -leave_one_out(rewards),
        lambda rewards: rewards - rewards**2,  # a baseline that depends on the answer
        lambda rewards: len(rewards) * leave_one_out(rewards),
        lambda rewards: (rewards - rewards.mean()) / (rewards.std() + 1e-9),
    ],
    ids=["the sign", "a baseline of the answer", "a sum", "divided by the deviation"],
)
def test_what_is_no_advantage_is_found_so(true_gradient, wrong):
    assert relative_error(expected_dtheta(wrong, 2), true_gradient) > 1e-2


def test_the_baseline_takes_noise_away():
    """Of one batch of four answers, far from a reward of 0: the squared error of the estimate, in the mean."""
    draw, probs = np.random.default_rng(2), probabilities(THETA)
    batches = draw.choice(len(ANSWERS), size=(400, 4), p=probs)
    rewards = REWARDS + 3.0

    def noise(advantages_of):
        estimates = np.array([dtheta_of(ANSWERS[b], advantages_of(rewards[b])) for b in batches])
        return estimates.var(axis=0).sum()

    assert noise(leave_one_out) < noise(lambda r: r) / 10


def test_leave_one_out_is_the_reward_minus_the_mean_of_the_others():
    rewards = np.array([[1.0, 0.0, 0.0, 1.0], [0.5, 0.25, 1.0, 0.0]])
    others = [[np.delete(row, i).mean() for i in range(4)] for row in rewards]
    np.testing.assert_allclose(leave_one_out(rewards), rewards - others, rtol=1e-15)
    assert not leave_one_out(np.ones((2, 3))).any(), "where all answers are alike, nothing is learned"
    assert leave_one_out(np.array([[1, 0]])).tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("rewards", [np.ones((3, 1)), np.array(1.0), np.ones((2, 0))])
def test_one_answer_has_no_others(rewards):
    with pytest.raises(ValueError, match=r"rewards had shape \(.*\); it must be \(\.\.\., S\), with S at least 2"):
        leave_one_out(rewards)


MASK = np.array([[False, True, True], [False, True, False]])


def test_a_token_weighs_its_answers_advantage_where_it_was_drawn():
    weights = episode_weights(np.array([0.5, -2.0]), MASK)
    assert weights.tolist() == [[0.0, 0.25, 0.25], [0.0, -1.0, 0.0]]


def test_the_loss_is_the_literal_formula():
    draw = np.random.default_rng(3)
    logits, tokens, advantages = draw.standard_normal((2, 3, 5)), draw.integers(0, 5, (2, 3)), np.array([0.5, -2.0])
    loss, _ = policy_gradient_forward(logits, tokens, advantages, MASK)
    expected = 0.0
    for n, t in zip(*np.nonzero(MASK), strict=True):
        z = logits[n, t]
        expected -= advantages[n] * math.log(math.exp(z[tokens[n, t]]) / sum(map(math.exp, z))) / 2
    assert loss == pytest.approx(expected, rel=1e-14)


def test_with_an_advantage_of_one_it_is_cross_entropy_but_for_the_mean():
    draw = np.random.default_rng(4)
    logits, tokens = draw.standard_normal((2, 3, 5)), draw.integers(0, 5, (2, 3))
    loss, _ = policy_gradient_forward(logits, tokens, np.ones(2), MASK)
    mean, _ = cross_entropy_forward(logits, tokens, MASK)
    assert loss == pytest.approx(mean * MASK.sum() / 2, rel=1e-14)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advantages": np.ones(3)}, r"advantages had shape \(3,\); it must be \(2,\), a number for each answer"),
        ({"advantages": np.ones((2, 3))}, r"advantages had shape \(2, 3\); it must be \(2,\)"),
        ({"loss_mask": MASK[:1]}, r"loss_mask had shape \(1, 3\); it must be that of the positions, \(2, 3\)"),
        ({"targets": np.zeros((2, 2), int)}, r"targets had shape \(2, 2\); it must be that of the positions"),
        ({"targets": np.full((2, 3), 5)}, "targets ran from 5 to 5; each must be from 0 to 4"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    arguments = {"targets": np.zeros((2, 3), int), "advantages": np.ones(2), "loss_mask": MASK} | changes
    with pytest.raises(ValueError, match=message):
        policy_gradient_forward(np.zeros((2, 3, 5)), **arguments)
