"""DeBERTa's disentangled attention: what a token says and how far away it stands meet in three products.

    scores[i, j] = (q_i . k_j  +  q_i . k_rel[m]  +  k_j . q_rel[m]) / sqrt(3 K),    m the row for the distance i - j
    y            = softmax(scores) v                                                 (`ops/log_buckets.py`)

The terms are content to content, content to position (c2p) and position to content (p2c). This is equation 4 of He et
al. (2021), but for one index: the paper writes delta(j, i) in the last term; transformers, and so every checkpoint that
it runs, has the same m in both. Only tokens see, and only tokens are seen: a padded query gets y = 0.

Derivation. With s = 1 / sqrt(3 K), and dscores from softmax's backward as in `ops/attention.py`,

    dq_i      = s sum_j dscores_ij (k_j + k_rel[m])           dk_j      = s sum_i dscores_ij (q_i + q_rel[m])
    dk_rel[m] = s sum of dscores_ij q_i                       dq_rel[m] = s sum of dscores_ij k_j

where the last two sum over all sequences and all pairs (i, j) whose distance has row m.

The row m depends on i - j alone. So all q_i . k_rel[m] are one product with the rows for every distance, (T, 2T), and
c2p is that product with row i shifted i places: a view of the same memory (`skew`). Nothing is gathered, and the
gradient goes back through the same view, in which every entry has one place.
"""

import math
from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp, scatter_add
from minilora.arrays.chunks import l2_chunks
from minilora.ops.softmax import SoftmaxCache, softmax_backward, softmax_inplace


class DisentangledAttentionCache(NamedTuple):
    q: Any  # (N, H, T, K), scaled by 1 / sqrt(3 K)
    k: Any  # (N, H, T, K)
    v: Any  # (N, H, T, K)
    q_pos: Any  # (H, 2T, K), scaled too: rows of q_rel for i - j = -(T - 1) ... T
    k_pos: Any  # (H, 2T, K): rows of k_rel for i - j = T - 1 ... -T
    distance_rows: Any  # (2T + 1,)
    M: int
    probs: Any  # (N, H, T, T)


def disentangled_attention_forward(q, k, v, q_rel, k_rel, distance_rows, mask=None):
    """y = softmax((q k^T + c2p + p2c) / sqrt(3 K)) v.

    Parameters
    ----------
    q, k, v : ndarray of shape (N, H, T, K)
    q_rel, k_rel : ndarray of shape (H, M, K)
        The relative embeddings, projected as q and k are.
    distance_rows : integer ndarray of shape (2 T + 1,)
        The row of q_rel and k_rel for each distance i - j from -T to T, from `relative_rows`.
    mask : boolean ndarray of shape (N, T), optional
        False for padding, which sees nothing and is not seen.

    Returns
    -------
    y : ndarray of shape (N, H, T, K)
    cache : DisentangledAttentionCache

    Raises
    ------
    ValueError
        If distance_rows has another shape.
    """
    xp = get_xp(q=q, k=k, v=v, q_rel=q_rel, k_rel=k_rel, distance_rows=distance_rows, mask=mask)
    N, H, T, K = q.shape
    if distance_rows.shape != (2 * T + 1,):
        raise ValueError(f"distance_rows had shape {distance_rows.shape}; for T = {T} it is {(2 * T + 1,)}")
    q = q * _scale(K)
    q_pos = q_rel[:, distance_rows[1:]] * _scale(K)  # (H, M, K) -> (H, 2T, K)
    k_pos = k_rel[:, distance_rows[-2::-1]]  # (H, M, K) -> (H, 2T, K)
    bias = None if mask is None else _bias(xp, mask, q.dtype)  # (N, 1, T, T)
    probs = xp.empty((N, H, T, T), dtype=q.dtype)
    y = xp.empty_like(q)
    for n in _sequences(xp, probs):
        scores = q[n] @ k[n].swapaxes(-1, -2)  # (n, H, T, K) @ (n, H, K, T) -> (n, H, T, T)
        scores += skew(q[n] @ k_pos.swapaxes(-1, -2))  # c2p: (n, H, T, 2T) -> (n, H, T, T)
        scores += skew(k[n] @ q_pos.swapaxes(-1, -2)).swapaxes(-1, -2)  # p2c: a row a key, hence turned
        if bias is not None:
            scores += bias[n]
        probs[n] = softmax_inplace(scores)
        y[n] = scores @ v[n]  # (n, H, T, T) @ (n, H, T, K) -> (n, H, T, K)
    return y, DisentangledAttentionCache(q, k, v, q_pos, k_pos, distance_rows, q_rel.shape[1], probs)


def disentangled_attention_backward(dy, cache):
    """Gradients with respect to q, k and v, (N, H, T, K), q_rel and k_rel, (H, M, K)."""
    q, k, v, q_pos, k_pos, distance_rows, M, probs = cache
    xp = get_xp(dy=dy, probs=probs)
    dq, dk, dv = xp.empty_like(q), xp.empty_like(k), xp.empty_like(v)
    dq_pos, dk_pos = xp.zeros_like(q_pos), xp.zeros_like(k_pos)
    for n in _sequences(xp, probs):
        # forward: y = probs @ v   so
        dv[n] = probs[n].swapaxes(-1, -2) @ dy[n]
        dprobs = dy[n] @ v[n].swapaxes(-1, -2)  # (n, H, T, T)
        # forward: probs = softmax(scores)   so
        dscores = softmax_backward(dprobs, SoftmaxCache(probs[n]))
        dscores_T = dscores.swapaxes(-1, -2)
        dc2p = _skew_backward(xp, dscores)  # (n, H, T, T) -> (n, H, T, 2T)
        dp2c = _skew_backward(xp, dscores_T)
        # forward: scores = q @ k.T + skew(q @ k_pos.T) + skew(k @ q_pos.T).T, where q and q_pos are scaled   so
        dq[n] = dscores @ k[n] + dc2p @ k_pos
        dk[n] = dscores_T @ q[n] + dp2c @ q_pos
        dq_pos += (dp2c.swapaxes(-1, -2) @ k[n]).sum(axis=0)  # (n, H, 2T, T) @ (n, H, T, K) -> (H, 2T, K)
        dk_pos += (dc2p.swapaxes(-1, -2) @ q[n]).sum(axis=0)
    dq *= _scale(q.shape[-1])
    dq_pos *= _scale(q.shape[-1])
    # forward: q_pos = q_rel[rows], k_pos = k_rel[rows in the other order]   so   equal rows add up
    dq_rel = _sum_by_row(xp, dq_pos, distance_rows[1:], M)
    dk_rel = _sum_by_row(xp, dk_pos, distance_rows[-2::-1], M)
    return dq, dk, dv, dq_rel, dk_rel


def skew(by_distance):
    """View (..., T, 2T) as (..., T, T): entry (t, s) is entry (t, s - t + T - 1) of what is passed in.

    In memory, that entry lies at 2T t + (s - t + T - 1) = (2T - 1) t + s + (T - 1): behind the first T - 1 entries,
    rows of length 2T - 1 begin, and s counts along them.
    """
    *lead, T, _ = by_distance.shape
    flat = by_distance.reshape(*lead, 2 * T * T)[..., T - 1 : T - 1 + T * (2 * T - 1)]
    return flat.reshape(*lead, T, 2 * T - 1)[..., :T]


def _skew_backward(xp, dy):
    """forward: y = skew(by_distance)   so   dy goes to where y came from, and what y left out has gradient zero."""
    *lead, T, _ = dy.shape
    dby_distance = xp.zeros((*lead, T, 2 * T), dtype=dy.dtype)
    skew(dby_distance)[...] = dy
    return dby_distance


def _scale(K):
    return 1.0 / math.sqrt(3 * K)


def _bias(xp, mask, dtype):
    """0 where both are tokens, -inf elsewhere: (N, T) -> (N, 1, T, T)"""
    seen = mask[:, :, None] & mask[:, None, :]
    return xp.where(seen, 0.0, -math.inf).astype(dtype)[:, None]


def _sequences(xp, probs):
    """Slices of sequences, so many that their (T, 2T) products fit the cache."""
    N, H, T, _ = probs.shape
    return l2_chunks(N, H * T * 2 * T * probs.itemsize, xp)


def _sum_by_row(xp, dpos, rows, M):
    """(H, 2T, K) -> (H, M, K)"""
    H, _, K = dpos.shape
    drel = xp.zeros((M, H * K), dtype=dpos.dtype)
    scatter_add(drel, rows, dpos.transpose(1, 0, 2).reshape(-1, H * K))
    return drel.reshape(M, H, K).transpose(1, 0, 2)
