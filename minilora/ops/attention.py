"""Scaled dot-product attention, y = softmax(q k^T / sqrt(K) + bias) v, for each head of each sequence.

Derivation. With scores = q k^T / sqrt(K), probs = softmax(scores + bias) and y = probs v, each line is a product:

    dprobs  = dy v^T                  dv = probs^T dy
    dscores = probs * (dprobs - D)    D_i = sum_j dprobs_ij probs_ij
    dq      = dscores k / sqrt(K)     dk = dscores^T q / sqrt(K)

The sum in D runs over all T keys, but it is dy_i . (sum_j probs_ij v_j) = dy_i . y_i, which has K terms alone.

The bias is 0 where a query may see a key and -inf where it may not, a constant; a key that is not seen has probability
zero, and so its dscores is zero without further care.
"""

import functools
import math
from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp, on_host
from minilora.arrays.chunks import l2_chunks
from minilora.arrays.kernels import fused
from minilora.ops.rows import row_dot, transposed_times
from minilora.ops.softmax import softmax_inplace


class AttentionCache(NamedTuple):
    q: Any  # (N, H, T_q, K), scaled by 1 / sqrt(K)
    k: Any  # (N, H, T, K)
    v: Any  # (N, H, T, K)
    y: Any  # (N, H, T_q, K)
    tiles: tuple  # of (n, i, j, probs): sequences, queries, keys, and probs[n, :, i, j]

    @property
    def probs(self):
        """Who looks at whom, (N, H, T_q, T): put together from the tiles; zero outside of them."""
        (N, H, T_q, _), T = self.q.shape, self.k.shape[2]
        probs = get_xp(q=self.q).zeros((N, H, T_q, T), dtype=self.q.dtype)
        for n, i, j, tile in self.tiles:
            probs[n, :, i, j] = tile
        return probs


QUERIES = 64  # of one tile


def attention_forward(q, k, v, key_mask=None, *, causal=True):
    """y = softmax(q k^T / sqrt(K) + bias) v.

    Parameters
    ----------
    q : ndarray of shape (N, H, T_q, K)
        The queries of the last T_q of T positions: T_q = T in training, 1 when one token is generated.
    k, v : ndarray of shape (N, H, T, K)
    key_mask : boolean ndarray of shape (N, T), optional
        False for keys that nobody may see (padding). A query that may see no key gets y = 0.
    causal : bool
        If True, a query sees the keys at its own and at earlier positions only.

    Returns
    -------
    y : ndarray of shape (N, H, T_q, K)
    cache : AttentionCache
    """
    xp = get_xp(q=q, k=k, v=v, key_mask=key_mask)
    T, K = k.shape[2], k.shape[3]
    q = q * (1.0 / math.sqrt(K))
    y = _empty_heads(xp, q)  # (N, H, T_q, K)
    tiles = []
    for n, i, j in _tiles(xp, q, T, causal):
        scores = q[n, :, i] @ k[n, :, j].swapaxes(-1, -2)  # (n, H, i, K) @ (n, H, K, j) -> (n, H, i, j)
        probs = _softmax_of_seen(scores, None if key_mask is None else key_mask[n, j], causal)
        xp.matmul(probs, v[n, :, j], out=y[n, :, i])  # (n, H, i, j) @ (n, H, j, K) -> (n, H, i, K)
        tiles.append((n, i, j, probs))
    return y, AttentionCache(q, k, v, y, tuple(tiles))


def attention_backward(dy, cache):
    """Gradients with respect to q, (N, H, T_q, K), k and v, (N, H, T, K)."""
    q, k, v, y, tiles = cache
    xp = get_xp(dy=dy, y=y)
    dq, dk, dv = _empty_heads(xp, q), _empty_heads(xp, k), _empty_heads(xp, v)
    dk[...] = dv[...] = 0.0
    for n, i, j, probs in tiles:
        dy_i, dk_j, dv_j = dy[n, :, i], dk[n, :, j], dv[n, :, j]  # (n, H, i, K), (n, H, j, K), (n, H, j, K)
        # forward: y = probs @ v   so
        dv_j += transposed_times(probs, dy_i)  # (n, H, i, j), (n, H, i, K) -> (n, H, j, K)
        dprobs = dy_i @ v[n, :, j].swapaxes(-1, -2)  # (n, H, i, j)
        # forward: probs = softmax(scores)   so
        dscores = _dscores(dprobs, probs, dy_i, y[n, :, i])
        # forward: scores = (q / sqrt(K)) @ k.T   so
        dk_j += transposed_times(dscores, q[n, :, i])  # q in the cache is scaled
        xp.matmul(dscores, k[n, :, j], out=dq[n, :, i])
    dq *= 1.0 / math.sqrt(q.shape[-1])
    return dq, dk, dv


@fused(
    "scores[N, H, I; J], key_mask[N, J], causal -> scores[N, H, I; J]",
    """
    const long long i = row % I, n = row / I / H;
    auto seen = [&](long long j) { return (!causal || j <= J - I + i) && (!key_mask || key_mask[n * J + j]); };
    const real largest = MAX(j, seen(j) ? scores[j] : LOWEST);
    EACH(j) scores[j] = seen(j) ? exp(scores[j] - largest) : 0;
    const real sum = SUM(j, scores[j]);
    EACH(j) scores[j] /= fmax(sum, TINY);
    """,
)
def _softmax_of_seen(scores, key_mask, causal):
    """Overwrite a tile's scores, (n, H, i, j), with probs; its last i keys are at the positions of its queries."""
    xp = get_xp(scores=scores, key_mask=key_mask)
    I = scores.shape[2]
    if causal and I > 1:
        scores[..., -I:] += _later_keys(xp, I, scores.dtype)
    if key_mask is not None:
        scores += xp.where(key_mask[:, None, None], 0.0, -math.inf).astype(scores.dtype)
    return softmax_inplace(scores)


@fused(
    "dprobs[...; J], probs[...; J], _, _ -> dprobs[...; J]",
    """
    const real D = SUM(j, dprobs[j] * probs[j]);
    EACH(j) dprobs[j] = probs[j] * (dprobs[j] - D);
    """,
)
def _dscores(dprobs, probs, dy, y):
    """Overwrite dprobs with probs * (dprobs - D). (The kernel has the row of dprobs at hand, and sums it for D.)"""
    D = row_dot(dy, y)  # (n, H, i, 1)
    dprobs -= D
    dprobs *= probs
    return dprobs


@functools.lru_cache(maxsize=8)
def _later_keys(xp, n, dtype):
    """-inf where a key comes after the query, 0 elsewhere: (n, n). The same array each time, to be read only."""
    return xp.triu(xp.full((n, n), -math.inf, dtype=dtype), k=1)


def _tiles(xp, q, T, causal):
    """Slices (n, i, j) of sequences, queries and keys that cover all that is not zero in probs, (N, H, T_q, T).

    On a CPU, a tile has 64 queries, the keys that they may see, which leaves out most of the upper triangle, and as
    many sequences as fit the cache. On a GPU, one tile covers all.
    """
    N, H, T_q, _ = q.shape
    block = QUERIES if on_host(q) else max(T_q, 1)
    for n in l2_chunks(N, H * block * T * q.itemsize, xp):
        for start in range(0, T_q, block):
            stop = min(start + block, T_q)
            yield n, slice(start, stop), slice(0, T - T_q + stop if causal else T)


def _empty_heads(xp, like):
    """An empty (N, H, T, K) that lies in memory as (N, T, H, K), so that merging the heads copies nothing."""
    N, H, T, K = like.shape
    return xp.empty((N, T, H, K), dtype=like.dtype).transpose(0, 2, 1, 3)
