"""The mean negative log-likelihood of the targets, -log softmax(logits)[target], over the positions that count.

This is the paper's objective (equation 2): with a loss_mask that is True only on y, the loss is on y and x is context.

Derivation. For one position, loss = -z_target + log sum_v exp(z_v), so d loss / d z_v = probs_v - 1[v = target]. The
mean over the counted positions divides this by their number, and a position that does not count has gradient zero.
With weights of the caller's own, as in `ops/policy_gradient.py`, each position has its weight in place of 1 / count.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp, on_host


class CrossEntropyCache(NamedTuple):
    probs: Array  # (..., V)
    targets: Array  # (...)
    weight: Array  # (...): what multiplies a position's loss; in a mean 1 / count where it counts, 0 elsewhere


def cross_entropy_forward(
    logits: Array, targets: Array, loss_mask: Array | None = None, weight: Array | None = None
) -> tuple[Array, CrossEntropyCache]:
    """loss = mean over counted positions of -log softmax(logits)[target], or their sum with given weights.

    Parameters
    ----------
    logits : ndarray of shape (..., V)
    targets : integer ndarray of shape (...)
        From 0 to V - 1, even where the loss_mask is False.
    loss_mask : boolean ndarray of shape (...), optional
        True where a position counts; None means everywhere. If no position counts, the loss is 0.
    weight : ndarray of shape (...), optional
        What multiplies the loss of each position, in place of a mean; loss_mask must then be None.

    Returns
    -------
    loss : array scalar of the dtype of logits, in nats
    cache : CrossEntropyCache

    Raises
    ------
    ValueError
        If targets, loss_mask or weight have another shape than the positions, a target on the host is out of range, or
        there are both a loss_mask and a weight.
    """
    xp = get_xp(logits=logits, targets=targets, loss_mask=loss_mask, weight=weight)
    check_positions(logits.shape[:-1], targets, loss_mask, weight)
    check_targets(targets, logits.shape[-1])
    if weight is None:
        counts = xp.ones(targets.shape, logits.dtype) if loss_mask is None else loss_mask.astype(logits.dtype)  # (...)
        weight = counts / xp.maximum(counts.sum(), 1.0)  # (...)
    elif loss_mask is not None:
        raise ValueError("loss_mask came with a weight; it must be None: a weight of 0 leaves a position out")
    weight = weight.astype(logits.dtype)  # (...)
    z = logits - logits.max(axis=-1, keepdims=True)  # (..., V)
    z_target = xp.take_along_axis(z, targets[..., None], axis=-1)[..., 0]  # (...)
    exps = xp.exp(z)  # (..., V)
    sums = exps.sum(axis=-1, keepdims=True)  # (..., 1)
    loss = (weight * (xp.log(sums[..., 0]) - z_target)).sum()
    return loss, CrossEntropyCache(exps / sums, targets, weight)


def cross_entropy_backward(dloss: float, cache: CrossEntropyCache) -> Array:
    """The gradient with respect to logits, (..., V)."""
    probs, targets, weight = cache
    onehot = targets[..., None] == get_xp(probs=probs).arange(probs.shape[-1])  # (..., 1), (V,) -> (..., V)
    # forward: loss = sum of weight * (log sum_v exp(z_v) - z_target)   so
    dlosses = (dloss * weight).astype(probs.dtype)  # (...)
    return dlosses[..., None] * (probs - onehot)


def check_positions(
    positions: tuple, targets: Array, loss_mask: Array | None = None, weight: Array | None = None
) -> None:
    """Raise a ValueError if targets, loss_mask or weight have another shape than the positions of the logits."""
    for name, array in (("targets", targets), ("loss_mask", loss_mask), ("weight", weight)):
        if array is not None and array.shape != positions:
            raise ValueError(f"{name} had shape {array.shape}; it must be that of the positions, {positions}")


def check_targets(targets: Array, V: int) -> None:
    """Raise a ValueError if targets that live on the host are out of range. (Reading a GPU's would wait for it.)"""
    if on_host(targets) and targets.size and not (targets.min() >= 0 and targets.max() < V):
        raise ValueError(f"targets ran from {targets.min()} to {targets.max()}; each must be from 0 to {V - 1}")
