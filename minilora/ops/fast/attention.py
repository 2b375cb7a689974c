"""Attention (`ops/attention.py`) in tiles, with softmax in place, and as two kernels on a GPU.

Tiles (`attention_tiles.py`) leave out what no query can see: most of the products and memory above the diagonal, and
between the texts of a row. The heads of a group share keys and values, and so they are one matrix product with M =
(H / G) i queries; nothing is copied for each head, and the sum over the group is part of the product.

In softmax's backward, D_i = sum_j dprobs_ij probs_ij runs over all T keys; but it equals dy_i . (sum_j probs_ij v_j),
which is dy_i . y_i and has only K terms. That is why y is kept.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from minilora.arrays.backend import Array, ArrayModule, get_xp
from minilora.arrays.kernels import fused
from minilora.ops import attention as page
from minilora.ops.attention import heads_per_group
from minilora.ops.fast.attention_tiles import attention_tiles, empty_heads, multiply_into, of_groups, of_heads
from minilora.ops.fast.row_products import row_dot, transposed_times_into
from minilora.ops.fast.softmax import softmax_inplace
from minilora.ops.plain import engine_of


class AttentionCache(NamedTuple):
    q: Array  # (N, H, T_q, K)
    k: Array  # (N, G, T, K)
    v: Array  # (N, G, T, K)
    y: Array  # (N, H, T_q, K)
    tiles: tuple  # of (n, i, j, is_last, probs): see `attention_tiles`, and probs[n, :, i, j]

    @property
    def probs(self) -> Array:
        """Who looks at whom, (N, H, T_q, T): assembled from the tiles; zero outside them."""
        (N, H, T_q, _), T = self.q.shape, self.k.shape[2]
        probs = get_xp(q=self.q).zeros((N, H, T_q, T), dtype=self.q.dtype)
        for n, i, j, _, tile in self.tiles:
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
) -> tuple[Array, AttentionCache]:
    xp = get_xp(q=q, k=k, v=v, padding_mask=padding_mask)
    heads_per_group(q, k)
    G, K = k.shape[1], k.shape[3]
    scaled = q * (1.0 / math.sqrt(K))  # (N, H, T_q, K)
    y = empty_heads(xp, q)  # (N, H, T_q, K)
    tiles = []
    for n, i, j, is_last in attention_tiles(xp, q, k, causal, text_lengths):
        scores = of_groups(scaled[n, :, i], G) @ k[n, :, j].swapaxes(-1, -2)  # (n, G, M, K) @ (n, G, K, j)
        scores = of_heads(scores, y[n, :, i])  # (n, G, M, j) -> (n, H, i, j)
        probs = _masked_softmax(scores, None if padding_mask is None else padding_mask[n, j], causal)
        multiply_into(y[n, :, i], probs, v[n, :, j])  # (n, H, i, j) @ (n, G, j, K) -> (n, H, i, K)
        tiles.append((n, i, j, is_last, probs))
    return y, AttentionCache(q, k, v, y, tuple(tiles))


@engine_of(page.attention_backward)
def attention_backward(dy: Array, cache: AttentionCache) -> tuple[Array, Array, Array]:
    if isinstance(cache, page.AttentionCache):  # made within plain_ops: it has no tiles
        return page.attention_backward(dy, cache)
    q, k, v, y, tiles = cache
    xp, G = get_xp(dy=dy, y=y), k.shape[1]
    dq, dk, dv = empty_heads(xp, q), empty_heads(xp, k), empty_heads(xp, v)
    for n, i, j, is_last, probs in reversed(tiles):
        dy_i, q_i = of_groups(dy[n, :, i], G), of_groups(q[n, :, i], G)  # (n, G, M, K)
        dk_j, dv_j = dk[n, :, j], dv[n, :, j]  # (n, G, j, K)
        add = not is_last  # the last queries of a text come first, and see all its keys: they set what others add to
        # forward: y = probs v   so
        transposed_times_into(dv_j, of_groups(probs, G), dy_i, add)  # (n, G, M, j), (n, G, M, K) -> (n, G, j, K)
        dprobs = of_heads(dy_i @ v[n, :, j].swapaxes(-1, -2), probs)  # (n, G, M, j) -> (n, H, i, j)
        # forward: probs = softmax(scores)   so
        dscores = _dscores(dprobs, probs, dy[n, :, i], y[n, :, i])
        # forward: scores = q k^T / sqrt(K)   so, except for the root
        transposed_times_into(dk_j, of_groups(dscores, G), q_i, add)  # (n, G, M, j), (n, G, M, K) -> (n, G, j, K)
        multiply_into(dq[n, :, i], dscores, k[n, :, j])  # (n, H, i, j) @ (n, G, j, K) -> (n, H, i, K)
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
