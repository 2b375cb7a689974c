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

from minilora.arrays.backend import get_xp, on_host
from minilora.arrays.chunks import row_chunks
from minilora.arrays.kernels import fused
from minilora.ops.cross_entropy import check_targets


class LinearCrossEntropyCache(NamedTuple):
    dx: Any  # (M, C) for dloss = 1, or None
    dW: Any  # (V, C) for dloss = 1, or None


LOGITS_BYTES = 16 * 1024 * 1024  # of one block: many rows, for W is read once a block
LOGITS_BYTES_ON_GPU = 512 * 1024 * 1024  # products of a few rows would leave most of it idle


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
    losses = xp.empty((M, 1), dtype=x.dtype)
    dx = xp.empty_like(x) if need_dx else None
    dW = xp.zeros_like(W) if need_dW else None
    need_dlogits = need_dx or need_dW
    for block in row_chunks(M, V * x.itemsize, LOGITS_BYTES if on_host(x) else LOGITS_BYTES_ON_GPU):
        logits = x[block] @ W.T  # (m, C) @ (C, V) -> (m, V)
        losses[block], dlogits = _losses_and_dlogits(logits, targets[block], 1.0 / M, need_dlogits)
        if not need_dlogits:
            continue
        # forward: logits = x @ W.T   so
        if need_dx:
            xp.matmul(dlogits, W, out=dx[block])  # (m, V) @ (V, C) -> (m, C)
        if need_dW:
            dW += dlogits.T @ x[block]  # (V, m) @ (m, C) -> (V, C)
    return losses.sum() / max(M, 1), LinearCrossEntropyCache(dx, dW)


@fused(
    "logits[m; V], targets[m], weight, need_dlogits -> loss[m; 1], logits[m; V]",
    """
    const long long target = targets[row];
    const real z_target = 0 <= target && target < V ? logits[target] : LOWEST;  // read before it is overwritten
    const real largest = MAX(v, logits[v]);
    EACH(v) logits[v] = exp(logits[v] - largest);
    const real sum = SUM(v, logits[v]);
    *loss = log(sum) - (z_target - largest);
    if (need_dlogits) EACH(v) logits[v] = weight * (logits[v] / sum - (v == target));
    """,
)
def _losses_and_dlogits(logits, targets, weight, need_dlogits):
    """The loss of each row, (m, 1), and weight * (probs - onehot(targets)), in the memory of the logits."""
    xp = get_xp(logits=logits)
    at_target = xp.arange(len(logits)), targets
    logits -= logits.max(axis=-1, keepdims=True)
    z_target = logits[at_target]  # (m,)
    exps = xp.exp(logits, out=logits)
    sums = exps.sum(axis=-1)  # (m,)
    losses = xp.log(sums) - z_target
    # forward: loss = log(sum) - z_target   so
    if need_dlogits:
        dlogits = xp.multiply(exps, weight / sums[:, None], out=exps)  # (m, V)
        dlogits[at_target] -= weight
    return losses[:, None], logits


def linear_cross_entropy_backward(dloss, cache):
    """Gradients with respect to x and W: what the forward found, times dloss."""
    return tuple(None if grad is None else dloss * grad for grad in cache)
