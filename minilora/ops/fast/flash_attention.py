"""Attention (`ops/attention.py`) on a GPU without the (N, H, T_q, T) array of scores: as FlashAttention does it.

Derivation. Softmax can be summed while the keys go by (Milakov and Gimelshein, 2018). Of the keys met so far, a query
keeps the largest score m, s = sum_j exp(scores_j - m), and o = sum_j exp(scores_j - m) v_j. When more keys J come:

    m' = max(m, max_J scores_j)          what was summed belongs to m, and shrinks by exp(m - m'):
    s' = exp(m - m') s + sum_J exp(scores_j - m')
    o' = exp(m - m') o + sum_J exp(scores_j - m') v_j

After the last, y = o / s, and lse = m + log s = log sum_j exp(scores_j). So a block of threads holds some queries, and
meets the keys a tile at a time; the scores of a tile live in registers, and die there (Dao et al., 2022, algorithm 1).

The backward makes probs_ij = exp(scores_ij - lse_i) again, from y, lse and one more product. What it needs of a
whole row of dprobs is known before it meets the first key:

    D_i = sum_j dprobs_ij probs_ij = sum_j (dy_i . v_j) probs_ij = dy_i . sum_j probs_ij v_j = dy_i . y_i

The rest is the page's: dscores = probs * (dprobs - D), and sums over keys for dq_i, over queries for dk_j and dv_j. Two
kernels, one that holds queries and one that holds keys, need no atomic addition, and so give the same bits each time
(Dao, 2023, has one kernel with atomic additions to dq, which makes two products fewer).

A query sees a range of keys: those of its text, up to its own position if causal. So a block leaves out the tiles that
none of its rows sees. A padded key is left out where it is met.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from minilora.arrays.backend import Array, ArrayModule, get_xp
from minilora.arrays.kernels import MOST_BLOCKS, launch, takes_kernels
from minilora.ops import attention as page
from minilora.ops.fast.attention_tiles import empty_heads
from minilora.ops.fast.flash_kernels import MOST_COLUMNS, THREADS, layout_of, source
from minilora.ops.text_lengths import text_bounds

# A thread meets its keys one after the other, so that a few queries of many keys would leave most of a GPU idle. They
# have few scores too, which `attention.py` computes.
FEWEST_QUERIES = 16


class FlashAttentionCache(NamedTuple):
    q: Array  # (N, H, T_q, K)
    k: Array  # (N, G, T, K)
    v: Array  # (N, G, T, K)
    padding_mask: Array | None  # (N, T)
    causal: bool
    text_lengths: Sequence[Sequence[int]] | None
    texts: Array | None  # (N, T, 2): where the text of each position starts and stops
    y: Array  # (N, H, T_q, K)
    lse: Array  # (N, H, T_q)

    @property
    def probs(self) -> Array:
        """Who looks at whom, (N, H, T_q, T): computed again, as on the page."""
        q, k, v, padding_mask, causal, text_lengths, *_ = self
        return page.attention_forward(q, k, v, padding_mask, causal=causal, text_lengths=text_lengths)[1].probs


def flash_fits(q: Array, k: Array, v: Array, padding_mask: Array | None) -> bool:
    """True for arrays of a GPU that the kernels take: not empty, FEWEST_QUERIES or more, heads of MOST_COLUMNS at most.

    The kernels trust these shapes. Arrays that do not fit one another are left to the tiles, which refuse them.
    """
    (N, H, T_q, K), T = q.shape, k.shape[2]
    return (
        all(takes_kernels(array) and array.dtype == q.dtype for array in (q, k, v))
        and k.shape == v.shape == (N, k.shape[1], T, K)
        and (padding_mask is None or padding_mask.shape == (N, T))
        and FEWEST_QUERIES <= T_q <= T
        and 0 < K <= MOST_COLUMNS
        and 0 < N * H * T <= MOST_BLOCKS
    )


def flash_attention_forward(
    q: Array,
    k: Array,
    v: Array,
    padding_mask: Array | None,
    causal: bool,
    text_lengths: Sequence[Sequence[int]] | None,
) -> tuple[Array, FlashAttentionCache]:
    """y, (N, H, T_q, K), and the cache of `flash_attention_backward`."""
    xp, (N, H, T_q, _), T = get_xp(q=q), q.shape, k.shape[2]
    texts = None if text_lengths is None else _bounds(xp, tuple(map(tuple, text_lengths)), N, T)  # (N, T, 2)
    y, lse = empty_heads(xp, q), xp.empty((N, H, T_q), q.dtype)  # (N, H, T_q, K), (N, H, T_q)
    cache = FlashAttentionCache(q, k, v, padding_mask, causal, text_lengths, texts, y, lse)
    _launch("flash_forward", cache, N * H, T_q, (_in_memory(y), lse))
    return y, cache


def flash_attention_backward(dy: Array, cache: FlashAttentionCache) -> tuple[Array, Array, Array]:
    """Gradients with respect to q, (N, H, T_q, K), k and v, (N, G, T, K)."""
    q, k, v, lse = cache.q, cache.k, cache.v, cache.lse
    xp, (N, H, T_q, _), (_, G, T, _) = get_xp(dy=dy, q=q), q.shape, k.shape
    dq, dk, dv = empty_heads(xp, q), empty_heads(xp, k), empty_heads(xp, v)
    if dy.shape != q.shape:
        raise ValueError(f"dy had shape {dy.shape}; it must have that of y, {q.shape}")
    D, dy = xp.empty_like(lse), _in_memory(dy.astype(q.dtype, copy=False))  # (N, H, T_q), (N, T_q, H, K)
    _launch("flash_dq", cache, N * H, T_q, (_in_memory(cache.y), lse, dy, _in_memory(dq), D))
    _launch("flash_dk_dv", cache, N * G, T, (lse, D, dy, _in_memory(dk), _in_memory(dv)))
    return dq, dk, dv


@functools.lru_cache(maxsize=2)
def _bounds(xp: ArrayModule, text_lengths: tuple[tuple[int, ...], ...], N: int, T: int) -> Array:
    """`text_bounds` as an array of the GPU, (N, T, 2): the same for every layer of a model."""
    return xp.asarray(text_bounds(text_lengths, N, T), dtype="int32")


def _launch(name: str, cache: FlashAttentionCache, heads: int, rows: int, arrays: tuple) -> None:
    """Launch a kernel of `flash_kernels.py` over so many heads of so many rows."""
    q, k, v, texts = cache.q, cache.k, cache.v, 0 if cache.texts is None else cache.texts  # 0: no pointer
    (N, H, T_q, K), (_, G, T, _) = q.shape, k.shape
    mask = 0 if cache.padding_mask is None else get_xp(q=q).ascontiguousarray(cache.padding_mask, dtype=bool)  # (N, T)
    blocks = heads * math.ceil(rows / layout_of(K, q.itemsize).rows)
    arguments = (*map(_in_memory, (q, k, v)), mask, texts, int(cache.causal), *arrays, N, H, G, T_q, T)
    launch(*source(name, K, q.dtype), blocks, THREADS, arguments)


def _in_memory(x: Array) -> Array:
    """(N, H, T, K) -> (N, T, H, K), contiguous: no copy of what the projections and `empty_heads` make"""
    return get_xp(x=x).ascontiguousarray(x.transpose(0, 2, 1, 3))
