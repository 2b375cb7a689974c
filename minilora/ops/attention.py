"""Scaled dot-product attention, y = softmax(q k^T / sqrt(K) + bias) v, for each head of each sequence.

Derivation. With scores = q k^T / sqrt(K), probs = softmax(scores + bias) and y = probs v, each line is a product:

    dprobs  = dy v^T                  dv = probs^T dy
    dscores = softmax's backward
    dq      = dscores k / sqrt(K)     dk = dscores^T q / sqrt(K)

The bias is 0 where a query may see a key and -inf where it may not, a constant; a key that is not seen has probability
zero, and so its dscores is zero without further care.
"""

import math
from typing import Any, NamedTuple

from minilora.backend import cache_blocks, get_xp, on_host
from minilora.ops.softmax import SoftmaxCache, softmax_backward, softmax_inplace


class AttentionCache(NamedTuple):
    q: Any  # (N, H, T_q, K), scaled by 1 / sqrt(K)
    k: Any  # (N, H, T, K)
    v: Any  # (N, H, T, K)
    probs: Any  # (N, H, T_q, T)
    causal: bool


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
    (N, H, T_q, K), T = q.shape, k.shape[2]
    bias = _bias(xp, key_mask, T_q, T, causal, q.dtype)  # (1 or N, 1, T_q or 1, T)
    q = q * (1.0 / math.sqrt(K))
    probs = xp.zeros((N, H, T_q, T), dtype=q.dtype)
    y = _empty_heads(xp, q)  # (N, H, T_q, K)
    for n, i, j in _tiles(xp, probs, causal):
        scores = q[n, :, i] @ k[n, :, j].swapaxes(-1, -2)  # (n, H, i, K) @ (n, H, K, j) -> (n, H, i, j)
        if bias is not None:
            scores += xp.broadcast_to(bias, (N, 1, T_q, T))[n, :, i, j]
        probs[n, :, i, j] = softmax_inplace(scores)
        y[n, :, i] = scores @ v[n, :, j]  # (n, H, i, j) @ (n, H, j, K) -> (n, H, i, K)
    return y, AttentionCache(q, k, v, probs, causal)


def attention_backward(dy, cache):
    """Gradients with respect to q, (N, H, T_q, K), k and v, (N, H, T, K)."""
    q, k, v, probs, causal = cache
    xp = get_xp(dy=dy, probs=probs)
    dq, dk, dv = _empty_heads(xp, q), _empty_heads(xp, k), _empty_heads(xp, v)
    dk[...] = dv[...] = 0.0
    for n, i, j in _tiles(xp, probs, causal):
        p, dy_i = probs[n, :, i, j], dy[n, :, i]  # (n, H, i, j), (n, H, i, K)
        # forward: y = probs @ v   so
        dv[n, :, j] += p.swapaxes(-1, -2) @ dy_i
        dprobs = dy_i @ v[n, :, j].swapaxes(-1, -2)
        # forward: probs = softmax(scores)   so
        dscores = softmax_backward(dprobs, SoftmaxCache(p))
        # forward: scores = (q / sqrt(K)) @ k.T   so
        dk[n, :, j] += dscores.swapaxes(-1, -2) @ q[n, :, i]  # q in the cache is scaled
        dq[n, :, i] = dscores @ k[n, :, j]
    dq *= 1.0 / math.sqrt(q.shape[-1])
    return dq, dk, dv


def _bias(xp, key_mask, T_q, T, causal, dtype):
    """0 where a query may see a key, -inf where it may not; None where every query may see every key."""
    bias = None
    if causal and T_q > 1:
        bias = xp.triu(xp.full((T_q, T), -math.inf, dtype=dtype), k=T - T_q + 1)[None, None]
    if key_mask is not None:
        of_keys = xp.where(key_mask, 0.0, -math.inf).astype(dtype)[:, None, None, :]
        bias = of_keys if bias is None else bias + of_keys
    return bias


def _tiles(xp, probs, causal):
    """Slices (n, i, j) of sequences, queries and keys that cover all of probs that is not zero.

    On a CPU, a tile has 64 queries, the keys that they may see, which leaves out most of the upper triangle, and as
    many sequences as fit the cache. On a GPU, one tile covers all.
    """
    N, H, T_q, T = probs.shape
    block = QUERIES if on_host(probs) else max(T_q, 1)
    for start in range(0, T_q, block):
        stop = min(start + block, T_q)
        seen = T - T_q + stop if causal else T
        for n in cache_blocks(N, H * (stop - start) * seen * probs.itemsize, xp):
            yield n, slice(start, stop), slice(0, seen)


def _empty_heads(xp, like):
    """An empty (N, H, T, K) that lies in memory as (N, T, H, K), so that merging the heads copies nothing."""
    N, H, T, K = like.shape
    return xp.empty((N, T, H, K), dtype=like.dtype).transpose(0, 2, 1, 3)
