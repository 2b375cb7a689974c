"""Attention (`ops/attention.py`) in tiles, with softmax in place; on a GPU as kernels (`flash_attention.py`).

Tiles (`attention_tiles.py`) leave out what no query can see: most of the products and memory above the diagonal, and
between the texts of a row. The heads of a group share keys and values, and so they are one matrix product with M =
(H / G) i queries; nothing is copied for each head, and the sum over the group is part of the product.

The probabilities, the largest array of a long sequence, are not kept. The forward keeps one number for each query,
lse = log sum_j exp(scores_j), and the backward makes probs = exp(scores - lse) again, a tile at a time, for one more
product (as FlashAttention does, Dao et al., 2022).

On a GPU, this file computes what `flash_attention.py` does not take, such as the one query of a new token, in one tile.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from minilora.arrays.backend import Array, ArrayModule, get_xp
from minilora.arrays.kernels import fused
from minilora.ops import attention as page
from minilora.ops.attention import check_queries, heads_per_group
from minilora.ops.fast.attention_tiles import attention_tiles, empty_heads, multiply_into, of_groups, of_heads
from minilora.ops.fast.flash_attention import (
    FlashAttentionCache,
    flash_attention_backward,
    flash_attention_forward,
    flash_fits,
)
from minilora.ops.fast.row_products import row_dot, row_sum, transposed_times_into
from minilora.ops.plain import engine_of


class AttentionCache(NamedTuple):
    q: Array  # (N, H, T_q, K)
    k: Array  # (N, G, T, K)
    v: Array  # (N, G, T, K)
    padding_mask: Array | None  # (N, T)
    causal: bool
    tiles: tuple  # of (n, i, j, is_last, lse): see `attention_tiles`; lse is (n, H, i, 1)

    @property
    def probs(self) -> Array:
        """Who looks at whom, (N, H, T_q, T): computed again; zero outside the tiles."""
        (N, H, T_q, _), T = self.q.shape, self.k.shape[2]
        probs, scaled = get_xp(q=self.q).zeros((N, H, T_q, T), dtype=self.q.dtype), _scaled(self.q)
        for n, i, j, _, lse in self.tiles:
            probs[n, :, i, j] = self.probs_of_tile(scaled, n, i, j, lse)
        return probs

    def probs_of_tile(self, scaled: Array, n: slice, i: slice, j: slice, lse: Array) -> Array:
        """(n, H, i, j)"""
        return _probs_again(*_scores(scaled, self.k, self.padding_mask, n, i, j), self.causal, lse)


@engine_of(page.attention_forward)
def attention_forward(
    q: Array,
    k: Array,
    v: Array,
    padding_mask: Array | None = None,
    *,
    causal: bool = True,
    text_lengths: Sequence[Sequence[int]] | None = None,
) -> tuple[Array, AttentionCache | FlashAttentionCache]:
    xp = get_xp(q=q, k=k, v=v, padding_mask=padding_mask)
    heads_per_group(q, k)  # G must divide H
    check_queries(q, k)
    if flash_fits(q, k, v, padding_mask):
        return flash_attention_forward(q, k, v, padding_mask, causal, text_lengths)
    scaled = _scaled(q)  # (N, H, T_q, K)
    y = empty_heads(xp, q)  # (N, H, T_q, K)
    tiles = []
    for n, i, j, is_last in attention_tiles(xp, q, k, causal, text_lengths):
        scores, padding = _scores(scaled, k, padding_mask, n, i, j)  # (n, H, i, j), (n, j)
        probs, lse = _masked_softmax(scores, padding, causal)  # (n, H, i, j), (n, H, i, 1)
        multiply_into(y[n, :, i], probs, v[n, :, j])  # (n, H, i, j) @ (n, G, j, K) -> (n, H, i, K)
        tiles.append((n, i, j, is_last, lse))
    return y, AttentionCache(q, k, v, padding_mask, causal, tuple(tiles))


@engine_of(page.attention_backward)
def attention_backward(dy: Array, cache: AttentionCache | FlashAttentionCache) -> tuple[Array, Array, Array]:
    if isinstance(cache, page.AttentionCache):  # made within plain_ops: it has no tiles
        return page.attention_backward(dy, cache)
    if isinstance(cache, FlashAttentionCache):
        return flash_attention_backward(dy, cache)
    q, k, v, *_, tiles = cache
    xp, G = get_xp(dy=dy, q=q), k.shape[1]
    scaled = _scaled(q)  # (N, H, T_q, K)
    dq, dk, dv = empty_heads(xp, q), empty_heads(xp, k), empty_heads(xp, v)
    for n, i, j, is_last, lse in reversed(tiles):
        dy_i, q_i = of_groups(dy[n, :, i], G), of_groups(scaled[n, :, i], G)  # (n, G, M, K)
        dk_j, dv_j = dk[n, :, j], dv[n, :, j]  # (n, G, j, K)
        add = not is_last  # the last queries of a text come first, and see all its keys: they set what others add to
        probs = cache.probs_of_tile(scaled, n, i, j, lse)  # (n, H, i, j)
        # forward: y = probs v   so
        transposed_times_into(dv_j, of_groups(probs, G), dy_i, add)  # (n, G, M, j), (n, G, M, K) -> (n, G, j, K)
        dprobs = of_heads(dy_i @ v[n, :, j].swapaxes(-1, -2), probs)  # (n, G, M, j) -> (n, H, i, j)
        # forward: probs = softmax(scores)   so
        dscores = _dscores(dprobs, probs)
        # forward: scores = scaled k^T   so
        transposed_times_into(dk_j, of_groups(dscores, G), q_i, add)  # (n, G, M, j), (n, G, M, K) -> (n, G, j, K)
        multiply_into(dq[n, :, i], dscores, k[n, :, j])  # (n, H, i, j) @ (n, G, j, K) -> (n, H, i, K)
    # forward: scaled = q / sqrt(K)   so
    dq *= 1.0 / math.sqrt(q.shape[-1])
    return dq, dk, dv


def _scaled(q: Array) -> Array:
    """q / sqrt(K), (N, H, T_q, K)"""
    return q * (1.0 / math.sqrt(q.shape[-1]))


def _scores(
    scaled: Array, k: Array, padding_mask: Array | None, n: slice, i: slice, j: slice
) -> tuple[Array, Array | None]:
    """A tile's scores, (n, H, i, j), before anything is masked, and its part of the padding mask, (n, j)."""
    q_i = scaled[n, :, i]  # (n, H, i, K)
    scores = of_groups(q_i, k.shape[1]) @ k[n, :, j].swapaxes(-1, -2)  # (n, G, M, K) @ (n, G, K, j) -> (n, G, M, j)
    return of_heads(scores, q_i), None if padding_mask is None else padding_mask[n, j]


SEEN = """
    const long long i = row % I, n = row / I / H;
    auto seen = [&](long long j) { return (!causal || j <= J - I + i) && (!padding_mask || padding_mask[n * J + j]); };
"""


@fused(
    "scores[N, H, I; J], padding_mask[N, J], causal -> scores[N, H, I; J], lse[N, H, I; 1]",
    f"""
    {SEEN}
    const real largest = MAX(j, seen(j) ? scores[j] : LOWEST);
    EACH(j) scores[j] = seen(j) ? exp(scores[j] - largest) : 0;
    const real sum = fmax(SUM(j, scores[j]), TINY);
    EACH(j) scores[j] /= sum;
    *lse = largest + log(sum);
    """,
)
def _masked_softmax(scores: Array, padding_mask: Array | None, causal: bool) -> tuple[Array, Array]:
    """Overwrite a tile's scores, (n, H, i, j), with probs; and lse, (n, H, i, 1)."""
    xp = get_xp(scores=scores, padding_mask=padding_mask)
    limits = xp.finfo(scores.dtype)
    _mask(scores, padding_mask, causal)
    largest = xp.maximum(scores.max(axis=-1, keepdims=True), float(limits.min))  # -inf - (-inf) would be NaN
    scores -= largest
    xp.exp(scores, out=scores)
    sums = xp.maximum(row_sum(scores), float(limits.tiny))  # (n, H, i, 1); 0 / 0 would be NaN
    scores /= sums
    return scores, largest + xp.log(sums)


@fused(
    "scores[N, H, I; J], padding_mask[N, J], causal, lse[N, H, I; 1] -> scores[N, H, I; J]",
    f"""
    {SEEN}
    EACH(j) scores[j] = seen(j) ? exp(scores[j] - *lse) : 0;
    """,
)
def _probs_again(scores: Array, padding_mask: Array | None, causal: bool, lse: Array) -> Array:
    """Overwrite a tile's scores, (n, H, i, j), with probs, given the lse of `_masked_softmax`."""
    _mask(scores, padding_mask, causal)
    scores -= lse
    return get_xp(scores=scores).exp(scores, out=scores)


def _mask(scores: Array, padding_mask: Array | None, causal: bool) -> None:
    """Add -inf where a query must not see a key. The last i keys of a tile are at the positions of its queries."""
    xp, I = get_xp(scores=scores, padding_mask=padding_mask), scores.shape[2]
    if causal and I > 1:
        scores[..., -I:] += _causal_mask(xp, I, scores.dtype)
    if padding_mask is not None:
        scores += xp.where(padding_mask[:, None, None], 0.0, -math.inf).astype(scores.dtype)


@fused(
    "dprobs[...; J], probs[...; J] -> dprobs[...; J]",
    """
    const real D = SUM(j, dprobs[j] * probs[j]);
    EACH(j) dprobs[j] = probs[j] * (dprobs[j] - D);
    """,
)
def _dscores(dprobs: Array, probs: Array) -> Array:
    """Overwrite dprobs with probs * (dprobs - D), D = sum_j dprobs_j probs_j."""
    D = row_dot(dprobs, probs)  # (n, H, i, 1)
    dprobs -= D
    dprobs *= probs
    return dprobs


@functools.lru_cache(maxsize=8)
def _causal_mask(xp: ArrayModule, n: int, dtype: str) -> Array:
    """-inf where a key comes after the query, 0 elsewhere: (n, n). A read-only array, the same each time."""
    return xp.triu(xp.full((n, n), -math.inf, dtype=dtype), k=1)
