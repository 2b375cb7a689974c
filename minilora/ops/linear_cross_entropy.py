"""A linear map into the vocabulary and its cross-entropy in one op, a block of rows at a time.

The same mathematics as `ops/linear.py` followed by `ops/cross_entropy.py`:

    logits = x W^T                                       (M, V)
    loss   = mean over rows of -log softmax(logits)[target]

Derivation. With probs = softmax(logits), dlogits = (probs - onehot(targets)) / M, and

    dx = dlogits W              dW = dlogits^T x

Why it exists: GPT-2 has V = 50257, so that the logits of a batch are the largest array of a training step, by far. But
row m of dlogits depends on row m of logits alone. So a block of rows goes all the way, from x to dx, before the next
one begins, and the logits of all rows never exist at once. The loss is a scalar, its gradients are known up to the
factor dloss; that is why the forward computes them, while the block is at hand, and the backward only multiplies.
"""

from typing import Any, NamedTuple

from minilora.backend import get_xp
from minilora.blocks import row_blocks
from minilora.ops.cross_entropy import check_targets


class LinearCrossEntropyCache(NamedTuple):
    dx: Any  # (M, C) for dloss = 1, or None
    dW: Any  # (V, C) for dloss = 1, or None


LOGITS_BYTES = 16 * 1024 * 1024  # of one block: many rows, for W is read once a block


def linear_cross_entropy_forward(x, W, targets, need_dx=True, need_dW=True):
    """loss = mean over rows of -log softmax(x W^T)[target].

    Parameters
    ----------
    x : ndarray of shape (M, C)
    W : ndarray of shape (V, C)
    targets : integer ndarray of shape (M,)
        From 0 to V - 1.
    need_dx, need_dW : bool
        Which gradients are wanted; the others are None.

    Returns
    -------
    loss : array scalar of x's dtype, in nats; 0 if M = 0
    cache : LinearCrossEntropyCache

    Raises
    ------
    ValueError
        If targets is not of shape (M,), or a target on the host is out of range.
    """
    xp = get_xp(x=x, W=W, targets=targets)
    M, V = len(x), len(W)
    if targets.shape != (M,):
        raise ValueError(f"targets had shape {targets.shape}; x has {M} rows")
    check_targets(targets, V)
    loss = xp.zeros((), dtype=x.dtype)
    dx = xp.empty_like(x) if need_dx else None
    dW = xp.zeros_like(W) if need_dW else None
    for block in row_blocks(M, V * x.itemsize, LOGITS_BYTES):
        at_target = xp.arange(block.stop - block.start), targets[block]
        logits = x[block] @ W.T  # (m, C) @ (C, V) -> (m, V)
        logits -= logits.max(axis=-1, keepdims=True)
        z_target = logits[at_target]  # (m,)
        exps = xp.exp(logits, out=logits)
        sums = exps.sum(axis=-1)  # (m,)
        # forward: loss = mean(log(sums) - z_target)   so
        loss += (xp.log(sums) - z_target).sum() / M
        if not (need_dx or need_dW):
            continue
        dlogits = xp.multiply(exps, (1.0 / M) / sums[:, None], out=exps)  # (m, V)
        dlogits[at_target] -= 1.0 / M
        # forward: logits = x @ W.T   so
        if need_dx:
            xp.matmul(dlogits, W, out=dx[block])  # (m, V) @ (V, C) -> (m, C)
        if need_dW:
            dW += dlogits.T @ x[block]  # (V, m) @ (m, C) -> (V, C)
    return loss, LinearCrossEntropyCache(dx, dW)


def linear_cross_entropy_backward(dloss, cache):
    """Gradients with respect to x and W: what the forward found, times dloss."""
    return tuple(None if grad is None else dloss * grad for grad in cache)
