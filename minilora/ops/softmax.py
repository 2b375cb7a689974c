"""Softmax over the last axis, probs_i = exp(x_i) / sum_j exp(x_j).

Derivation. d probs_i / d x_j = probs_i (1[i = j] - probs_j), so with the upstream gradient dprobs

    dx_j = sum_i dprobs_i probs_i (1[i = j] - probs_j) = probs_j (dprobs_j - sum_i dprobs_i probs_i)

The largest x of a row is subtracted before the exponential: it changes nothing (a shift cancels) and prevents overflow.
Entries of -inf get probability zero; a row of nothing but -inf, which has nothing to choose from, gets all zeros.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp
from minilora.arrays.kernels import fused
from minilora.ops.rows import row_dot, row_sum


class SoftmaxCache(NamedTuple):
    probs: Any  # (..., V)


def softmax_forward(x):
    """probs = softmax(x) over the last axis of x, of shape (..., V). Returns probs and a SoftmaxCache."""
    probs = softmax_inplace(x.copy())
    return probs, SoftmaxCache(probs)


@fused(
    "x[...; V] -> x[...; V]",
    """
    const real largest = MAX(v, x[v]);
    EACH(v) x[v] = exp(x[v] - largest);
    const real sum = SUM(v, x[v]);
    EACH(v) x[v] /= fmax(sum, TINY);
    """,
)
def softmax_inplace(x):
    """Overwrite x, an array that the caller has made itself, with softmax(x) over the last axis."""
    xp = get_xp(x=x)
    limits = xp.finfo(x.dtype)
    x -= xp.maximum(x.max(axis=-1, keepdims=True), float(limits.min))  # -inf - (-inf) would be nan
    xp.exp(x, out=x)
    x /= xp.maximum(row_sum(x), float(limits.tiny))
    return x


def softmax_backward(dprobs, cache):
    """dx = probs * (dprobs - sum(dprobs * probs)),  (..., V)"""
    return _dx(dprobs, cache.probs)


@fused(
    "dprobs[...; V], probs[...; V] -> dx[...; V]",
    """
    const real sum = SUM(v, dprobs[v] * probs[v]);
    EACH(v) dx[v] = probs[v] * (dprobs[v] - sum);
    """,
)
def _dx(dprobs, probs):
    dx = dprobs - row_dot(dprobs, probs)
    dx *= probs
    return dx
