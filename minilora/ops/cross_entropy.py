"""The mean negative log-likelihood of the targets, -log softmax(logits)[target], over the positions that count.

This is the paper's objective (equation 2): with a mask that is True on y alone, the loss is on y and x is context.

Derivation. For one position, loss = -z_target + log sum_v exp(z_v), so d loss / d z_v = probs_v - 1[v = target]. The
mean over M counted positions divides this by M, and a position that does not count has gradient zero.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp, on_host
from minilora.ops.rows import rows


class CrossEntropyCache(NamedTuple):
    probs: Any  # (..., V)
    targets: Any  # (...)
    weight: Any  # (M,): 1 / count where a position counts, 0 elsewhere


def cross_entropy_forward(logits, targets, mask=None):
    """loss = mean over counted positions of -log softmax(logits)[target].

    Parameters
    ----------
    logits : ndarray of shape (..., V)
    targets : integer ndarray of shape (...)
        From 0 to V - 1, also where the mask is False.
    mask : boolean ndarray of shape (...), optional
        True where a position counts; None means everywhere. If no position counts, the loss is 0.

    Returns
    -------
    loss : array scalar of the dtype of logits, in nats
    cache : CrossEntropyCache

    Raises
    ------
    ValueError
        If targets or mask have another shape than the positions, or a target on the host is out of range.
    """
    xp = get_xp(logits=logits, targets=targets, mask=mask)
    for name, array in (("targets", targets), ("mask", mask)):
        if array is not None and array.shape != logits.shape[:-1]:
            raise ValueError(f"{name} had shape {array.shape}; the positions have {logits.shape[:-1]}")
    check_targets(targets, logits.shape[-1])
    shifted = rows(logits) - rows(logits).max(axis=-1, keepdims=True)  # (M, V)
    at_target = xp.arange(len(shifted)), targets.reshape(-1)
    z_target = shifted[at_target]  # (M,)
    exps = xp.exp(shifted, out=shifted)
    sums = exps.sum(axis=-1, keepdims=True)  # (M, 1)
    weight = _weight(xp, mask, len(shifted), shifted.dtype)  # (M,)
    loss = weight @ (xp.log(sums[:, 0]) - z_target)
    exps /= sums
    return loss, CrossEntropyCache(exps.reshape(logits.shape), targets, weight)


def check_targets(targets, V):
    """Raise a ValueError if targets that live on the host are out of range. (A look at a GPU's would wait for it.)"""
    if on_host(targets) and targets.size and not (targets.min() >= 0 and targets.max() < V):
        raise ValueError(f"targets ran from {targets.min()} to {targets.max()}; each may be from 0 to {V - 1}")


def _weight(xp, mask, M, dtype):
    if mask is None:
        return xp.full(M, 1.0 / max(M, 1), dtype=dtype)
    weight = mask.reshape(-1).astype(dtype)
    weight /= xp.maximum(weight.sum(), 1.0)
    return weight


def cross_entropy_backward(dloss, cache):
    """The gradient with respect to logits, (..., V): dloss * weight * (probs - onehot(targets))."""
    xp = get_xp(probs=cache.probs)
    weight = (dloss * cache.weight).astype(cache.weight.dtype)  # (M,)
    dlogits = rows(cache.probs) * weight[:, None]  # (M, V)
    dlogits[xp.arange(len(weight)), cache.targets.reshape(-1)] -= weight
    return dlogits.reshape(cache.probs.shape)
