"""The policy gradient of language models: REINFORCE (Williams, 1992), with a baseline.

A model is a policy: after a prompt x it draws an answer y, token by token, with probability pi(y | x), and the answer
gets a reward R(y). What is to grow is the expected reward,

    J = E[R(y)] = sum_y pi(y | x) R(y)

Derivation. The reward has no gradient, and need not have one: with d pi = pi d log pi,

    dJ = sum_y R(y) d pi(y | x) = sum_y pi(y | x) R(y) d log pi(y | x) = E[R(y) sum_t d log pi(y_t | y_<t, x)]

which is an expectation over the model's own answers, so that the mean over N drawn answers estimates it. A baseline b
that does not depend on y changes nothing in the mean, because probabilities sum to 1 whatever the parameters are:

    E[b d log pi(y | x)] = b sum_y d pi(y | x) = b d(1) = 0

but it takes away what all answers have in common, and with it most of the noise. So the loss, to be minimised, is

    loss = -1/N sum_n advantage_n sum_t log pi(y_nt | y_n<t, x_n),        advantage_n = R_n - b_n, a constant

Its gradient is minus the estimate of dJ; its value means nothing. It is the cross-entropy of the drawn tokens with the
weight advantage_n / N at each, a sum over an answer's tokens and no mean, and weight 0 in the prompt and the padding:

    dlogits_nt = weight_nt (probs_nt - onehot(y_nt)),        weight_nt = advantage_n / N where y_nt was drawn

For a positive advantage this is what training on the answer as a target does; for a negative one, the opposite.

The baseline here is the mean reward of the other answers to the same prompt (Kool et al., 2019; RLOO, Ahmadian et al.,
2024). The mean of all answers, its own included, as in GRPO (Shao et al., 2024), gives (S - 1) / S of it for S answers:
its own reward is in it, and so the estimate of dJ is too small by this factor. GRPO then divides by the rewards'
standard deviation too, which makes prompts count most where almost all answers are alike; that is left out here.
"""

from minilora.arrays.backend import Array, get_xp
from minilora.ops.cross_entropy import CrossEntropyCache, check_positions, cross_entropy_backward, cross_entropy_forward


def policy_gradient_forward(
    logits: Array, targets: Array, advantages: Array, loss_mask: Array
) -> tuple[Array, CrossEntropyCache]:
    """loss = -1/N sum over answers of advantage times the log-probability of the tokens that were drawn.

    Parameters
    ----------
    logits : ndarray of shape (N, T, V)
        At temperature 1, of the very model that drew the tokens: there is no correction for another one.
    targets : integer ndarray of shape (N, T)
        What follows each position; where the loss_mask is True, the token that was drawn from its logits.
    advantages : ndarray of shape (N,)
        The reward of each answer minus its baseline; constants.
    loss_mask : boolean ndarray of shape (N, T)
        True where a token was drawn, the end of text included; False in the prompt and in the padding.

    Returns
    -------
    loss : array scalar of the dtype of logits
    cache : CrossEntropyCache

    Raises
    ------
    ValueError
        If the shapes are others, or a target on the host is out of range.
    """
    get_xp(logits=logits, targets=targets, advantages=advantages, loss_mask=loss_mask)
    check_positions(logits.shape[:-1], targets, loss_mask)
    return cross_entropy_forward(logits, targets, weight=episode_weights(advantages, loss_mask))


def policy_gradient_backward(dloss: float, cache: CrossEntropyCache) -> Array:
    """The gradient with respect to logits, (N, T, V)."""
    # forward: loss = sum of weight * -log probs[target]   so   dlogits = dloss * weight * (probs - onehot)
    return cross_entropy_backward(dloss, cache)


def episode_weights(advantages: Array, loss_mask: Array) -> Array:
    """The weight of each token in the loss, (N, T): advantage_n / N where a token was drawn, and 0 elsewhere.

    Parameters
    ----------
    advantages : ndarray of shape (N,)
    loss_mask : boolean ndarray of shape (N, T)

    Raises
    ------
    ValueError
        If there is not one advantage for each row.
    """
    if advantages.shape != loss_mask.shape[:-1]:
        raise ValueError(
            f"advantages had shape {advantages.shape}; it must be {loss_mask.shape[:-1]}, a number for each answer"
        )
    return advantages[..., None] / max(advantages.size, 1) * loss_mask  # (N, 1) * (N, T) -> (N, T)


def leave_one_out(rewards: Array) -> Array:
    """advantage = reward - mean reward of the other answers to the same prompt.

    With S answers to a prompt and their mean m, the others' mean is (S m - R) / (S - 1), so that the advantage is
    (R - m) S / (S - 1). Given the others, the baseline does not depend on the answer, so the gradient stays unbiased.

    Parameters
    ----------
    rewards : ndarray of shape (..., S)
        Those of S answers to one prompt in a row, at least two.

    Returns
    -------
    advantages : ndarray of shape (..., S)
        They sum to 0 in each row.

    Raises
    ------
    ValueError
        If there are fewer than two answers to a prompt.
    """
    S = rewards.shape[-1] if rewards.ndim else 0
    if S < 2:
        raise ValueError(
            f"rewards had shape {rewards.shape}; it must be (..., S), with S at least 2 answers to a prompt"
        )
    return (rewards - rewards.mean(axis=-1, keepdims=True)) * (S / (S - 1))
