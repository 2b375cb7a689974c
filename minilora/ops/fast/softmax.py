"""Softmax (`ops/softmax.py`) in few passes over memory, and as one kernel on a GPU."""

from minilora.arrays.backend import Array, get_xp
from minilora.arrays.kernels import fused
from minilora.ops import softmax as page
from minilora.ops.fast.row_products import row_dot, row_sum
from minilora.ops.plain import engine_of
from minilora.ops.softmax import SoftmaxCache


@engine_of(page.softmax_forward)
def softmax_forward(x: Array) -> tuple[Array, SoftmaxCache]:
    probs = softmax_inplace(x.copy())
    return probs, SoftmaxCache(probs)


@engine_of(page.softmax_backward)
def softmax_backward(dprobs: Array, cache: SoftmaxCache) -> Array:
    return _dx(dprobs, cache.probs)


@fused(
    "x[...; V] -> x[...; V]",
    """
    const real largest = MAX(v, x[v]);
    EACH(v) x[v] = exp(x[v] - largest);
    const real sum = SUM(v, x[v]);
    EACH(v) x[v] /= fmax(sum, TINY);
    """,
)
def softmax_inplace(x: Array) -> Array:
    """Overwrite x, an array that belongs to the caller, with softmax(x) over the last axis."""
    xp = get_xp(x=x)
    limits = xp.finfo(x.dtype)
    x -= xp.maximum(x.max(axis=-1, keepdims=True), float(limits.min))  # -inf - (-inf) would be NaN
    xp.exp(x, out=x)
    x /= xp.maximum(row_sum(x), float(limits.tiny))
    return x


@fused(
    "dprobs[...; V], probs[...; V] -> dx[...; V]",
    """
    const real sum = SUM(v, dprobs[v] * probs[v]);
    EACH(v) dx[v] = probs[v] * (dprobs[v] - sum);
    """,
)
def _dx(dprobs: Array, probs: Array) -> Array:
    dx = dprobs - row_dot(dprobs, probs)
    dx *= probs
    return dx
