"""Attention (`ops/attention.py`) in tiles, with softmax in place, and as two kernels on a GPU.

On a CPU, a tile is 64 queries x the keys that they can see x as many sequences as fit in L2. That skips most of the
products and memory above the diagonal. On a GPU, one tile covers everything.

In softmax's backward, D_i = sum_j dprobs_ij probs_ij runs over all T keys; but it equals dy_i . (sum_j probs_ij v_j),
which is dy_i . y_i and has only K terms. That is why y is kept.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from minilora.arrays.backend import Array, ArrayModule, get_xp, on_host
from minilora.arrays.chunks import l2_chunks
from minilora.arrays.kernels import fused
from minilora.ops import attention as page
from minilora.ops.fast.row_products import row_dot, transposed_times_into
from minilora.ops.fast.softmax import softmax_inplace
from minilora.ops.plain import engine_of


class AttentionCache(NamedTuple):
    q: Array  # (N, H, T_q, K)
    k: Array  # (N, H, T, K)
    v: Array  # (N, H, T, K)
    y: Array  # (N, H, T_q, K)
    tiles: tuple  # of (n, i, j, probs): sequences, queries, keys, and probs[n, :, i, j]

    @property
    def probs(self) -> Array:
        """Who looks at whom, (N, H, T_q, T): assembled from the tiles; zero outside them."""
        (N, H, T_q, _), T = self.q.shape, self.k.shape[2]
        probs = get_xp(q=self.q).zeros((N, H, T_q, T), dtype=self.q.dtype)
        for n, i, j, tile in self.tiles:
            probs[n, :, i, j] = tile
        return probs


QUERIES = 64  # of one tile


@engine_of(page.attention_forward)
def attention_forward(
    q: Array,
    k: Array,
    v: Array,
    padding_mask: Array | None = None,
    *,
    causal: bool = True,
    text_lengths: Sequence[Sequence[int]] | None = None,
) -> tuple[Array, Any]:
    if text_lengths is not None or q.shape[1] != k.shape[1]:
        return page.attention_forward(q, k, v, padding_mask, causal=causal, text_lengths=text_lengths)
    xp = get_xp(q=q, k=k, v=v, padding_mask=padding_mask)
    T, K = k.shape[2], k.shape[3]
    scaled = q * (1.0 / math.sqrt(K))  # (N, H, T_q, K)
    y = _empty_heads(xp, q)  # (N, H, T_q, K)
    tiles = []
    for n, i, j in _tiles(xp, q, T, causal):
        scores = scaled[n, :, i] @ k[n, :, j].swapaxes(-1, -2)  # (n, H, i, K) @ (n, H, K, j) -> (n, H, i, j)
        probs = _masked_softmax(scores, None if padding_mask is None else padding_mask[n, j], causal)
        xp.matmul(probs, v[n, :, j], out=y[n, :, i])  # (n, H, i, j) @ (n, H, j, K) -> (n, H, i, K)
        tiles.append((n, i, j, probs))
    return y, AttentionCache(q, k, v, y, tuple(tiles))


@engine_of(page.attention_backward)
def attention_backward(dy: Array, cache: AttentionCache) -> tuple[Array, Array, Array]:
    if isinstance(cache, page.AttentionCache):  # made within plain_ops: it has no tiles
        return page.attention_backward(dy, cache)
    q, k, v, y, tiles = cache
    xp = get_xp(dy=dy, y=y)
    dq, dk, dv = _empty_heads(xp, q), _empty_heads(xp, k), _empty_heads(xp, v)
    if not tiles:  # no queries
        dk[...] = dv[...] = 0.0
    for n, i, j, probs in reversed(tiles):
        dy_i, dk_j, dv_j = dy[n, :, i], dk[n, :, j], dv[n, :, j]  # (n, H, i, K), (n, H, j, K), (n, H, j, K)
        add = i.stop < q.shape[2]  # the last queries come first, and see all keys: they set what the others add to
        # forward: y = probs v   so
        transposed_times_into(dv_j, probs, dy_i, add)  # (n, H, i, j), (n, H, i, K) -> (n, H, j, K)
        dprobs = dy_i @ v[n, :, j].swapaxes(-1, -2)  # (n, H, i, j)
        # forward: probs = softmax(scores)   so
        dscores = _dscores(dprobs, probs, dy_i, y[n, :, i])
        # forward: scores = q k^T / sqrt(K)   so, except for the root
        transposed_times_into(dk_j, dscores, q[n, :, i], add)  # (n, H, i, j), (n, H, i, K) -> (n, H, j, K)
        xp.matmul(dscores, k[n, :, j], out=dq[n, :, i])  # (n, H, i, j) @ (n, H, j, K) -> (n, H, i, K)
    dq *= 1.0 / math.sqrt(q.shape[-1])
    dk *= 1.0 / math.sqrt(q.shape[-1])
    return dq, dk, dv


@fused(
    "scores[N, H, I; J], padding_mask[N, J], causal -> scores[N, H, I; J]",
    """
    const long long i = row % I, n = row / I / H;
    auto seen = [&](long long j) { return (!causal || j <= J - I + i) && (!padding_mask || padding_mask[n * J + j]); };
    const real largest = MAX(j, seen(j) ? scores[j] : LOWEST);
    EACH(j) scores[j] = seen(j) ? exp(scores[j] - largest) : 0;
    const real sum = SUM(j, scores[j]);
    EACH(j) scores[j] /= fmax(sum, TINY);
    """,
)
def _masked_softmax(scores: Array, padding_mask: Array | None, causal: bool) -> Array:
    """Overwrite a tile's scores, (n, H, i, j), with probs; its last i keys are at the positions of its queries."""
    xp = get_xp(scores=scores, padding_mask=padding_mask)
    I = scores.shape[2]
    if causal and I > 1:
        scores[..., -I:] += _causal_mask(xp, I, scores.dtype)
    if padding_mask is not None:
        scores += xp.where(padding_mask[:, None, None], 0.0, -math.inf).astype(scores.dtype)
    return softmax_inplace(scores)


@fused(
    "dprobs[...; J], probs[...; J], _, _ -> dprobs[...; J]",
    """
    const real D = SUM(j, dprobs[j] * probs[j]);
    EACH(j) dprobs[j] = probs[j] * (dprobs[j] - D);
    """,
)
def _dscores(dprobs: Array, probs: Array, dy: Array, y: Array) -> Array:
    """Overwrite dprobs with probs * (dprobs - D). (The kernel has the row of dprobs, and sums it for D.)"""
    D = row_dot(dy, y)  # (n, H, i, 1)
    dprobs -= D
    dprobs *= probs
    return dprobs


@functools.lru_cache(maxsize=8)
def _causal_mask(xp: ArrayModule, n: int, dtype: str) -> Array:
    """-inf where a key comes after the query, 0 elsewhere: (n, n). A read-only array, the same each time."""
    return xp.triu(xp.full((n, n), -math.inf, dtype=dtype), k=1)


def _tiles(xp: ArrayModule, q: Array, T: int, causal: bool) -> Iterator[tuple[slice, slice, slice]]:
    """Slices (n, i, j) of sequences, queries and keys that cover everything nonzero in probs, (N, H, T_q, T)."""
    N, H, T_q, _ = q.shape
    queries = QUERIES if on_host(q) else max(T_q, 1)
    for n in l2_chunks(N, H * queries * T * q.itemsize, xp):
        for start in range(0, T_q, queries):
            stop = min(start + queries, T_q)
            yield n, slice(start, stop), slice(0, T - T_q + stop if causal else T)


def _empty_heads(xp: ArrayModule, like: Array) -> Array:
    """An empty (N, H, T, K) that is laid out in memory as (N, T, H, K), so that merging the heads copies nothing."""
    N, H, T, K = like.shape
    return xp.empty((N, T, H, K), dtype=like.dtype).transpose(0, 2, 1, 3)
