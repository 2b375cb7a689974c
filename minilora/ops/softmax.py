"""Softmax over the last axis, probs_i = exp(x_i) / sum_j exp(x_j).

Derivation. d probs_i / d x_j = probs_i (1[i = j] - probs_j), so with the upstream gradient dprobs

    dx_j = sum_i dprobs_i probs_i (1[i = j] - probs_j) = probs_j (dprobs_j - sum_i dprobs_i probs_i)

The largest x of a row is subtracted before the exponential: that changes nothing (a shift cancels) and prevents
overflow. Entries of -inf get probability zero; a row of only -inf, which has nothing to choose from, gets all zeros.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp


class SoftmaxCache(NamedTuple):
    probs: Array  # (..., V)


def softmax_forward(x: Array) -> tuple[Array, SoftmaxCache]:
    """probs = softmax(x) over the last axis.

    Parameters
    ----------
    x : ndarray of shape (..., V)

    Returns
    -------
    probs : ndarray of shape (..., V)
    cache : SoftmaxCache
    """
    xp = get_xp(x=x)
    limits = xp.finfo(x.dtype)
    largest = xp.maximum(x.max(axis=-1, keepdims=True), float(limits.min))  # (..., 1)   -inf - (-inf) would be NaN
    exps = xp.exp(x - largest)  # (..., V)
    probs = exps / xp.maximum(exps.sum(axis=-1, keepdims=True), float(limits.tiny))  # 0 / 0 would be NaN
    return probs, SoftmaxCache(probs)


def softmax_backward(dprobs: Array, cache: SoftmaxCache) -> Array:
    """The gradient with respect to x, (..., V)."""
    (probs,) = cache
    # forward: probs = softmax(x)   so
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
