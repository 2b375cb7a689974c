"""A linear map into the vocabulary and its cross-entropy in one op: `ops/linear.py`, then `ops/cross_entropy.py`.

    logits = x W^T                                       (M, V)
    loss   = mean over rows of -log softmax(logits)[target], or their sum with given weights

Derivation. With probs = softmax(logits), dlogits = weight (probs - onehot(targets)), weight = 1 / M for a mean, and

    dx = dlogits W              dW = dlogits^T x

The loss is a scalar, so its gradients are known up to the factor dloss in the forward already. The forward computes
them, and the backward only multiplies: so the logits of a batch, by far the largest array of a training step, need not
be kept (and in `ops/fast` never exist at once).
"""

from typing import NamedTuple

from minilora.arrays.backend import Array
from minilora.ops.cross_entropy import cross_entropy_backward, cross_entropy_forward
from minilora.ops.linear import linear_backward, linear_forward


class LinearCrossEntropyCache(NamedTuple):
    dx: Array | None  # (M, C) for dloss = 1
    dW: Array | None  # (V, C) for dloss = 1


def linear_cross_entropy_forward(
    x: Array,
    W: Array,
    targets: Array,
    need_dx: bool = True,
    need_dW: bool = True,
    weight: Array | None = None,
) -> tuple[Array, LinearCrossEntropyCache]:
    """loss = mean over rows of -log softmax(x W^T)[target].

    Parameters
    ----------
    x : ndarray of shape (M, C)
    W : ndarray of shape (V, C)
    targets : integer ndarray of shape (M,)
        From 0 to V - 1.
    need_dx, need_dW : bool
        Which gradients to compute; the others are None.
    weight : ndarray of shape (M,), optional
        What multiplies the loss of each row, in place of a mean.

    Returns
    -------
    loss : array scalar of x's dtype, in nats; 0 if M = 0
    cache : LinearCrossEntropyCache

    Raises
    ------
    ValueError
        If targets or weight is not of shape (M,), or a target on the host is out of range.
    """
    logits, linear_cache = linear_forward(x, W)  # (M, C) @ (C, V) -> (M, V)
    loss, loss_cache = cross_entropy_forward(logits, targets, weight=weight)
    dlogits = cross_entropy_backward(1.0, loss_cache)  # (M, V)
    dx, dW, _ = linear_backward(dlogits, linear_cache)  # (M, C), (V, C)
    return loss, LinearCrossEntropyCache(dx if need_dx else None, dW if need_dW else None)


def linear_cross_entropy_backward(dloss: float, cache: LinearCrossEntropyCache) -> tuple[Array | None, Array | None]:
    """Gradients with respect to x and W: those of the forward, times dloss."""
    dx, dW = (None if grad is None else dloss * grad for grad in cache)
    return dx, dW
