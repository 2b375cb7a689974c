"""Disentangled attention (`ops/disentangled_attention.py`) without an array of every pair and channel.

The row m depends only on i - j. So all q_i . k_rel[m] are one product with the rows for every distance, (T, 2T), and
c2p is that product with row i shifted by i: a view of the same memory (`skew`). Nothing is gathered for each pair, and
the gradient goes back through the same view, in which every entry occurs once.
"""

import math
from typing import Any

from minilora.arrays.backend import Array, ArrayModule, get_xp
from minilora.arrays.chunks import l2_chunks
from minilora.arrays.reductions import scatter_add
from minilora.ops import disentangled_attention as page
from minilora.ops.disentangled_attention import DisentangledAttentionCache, check_distance_rows
from minilora.ops.fast.softmax import softmax_backward, softmax_inplace
from minilora.ops.plain import engine_of
from minilora.ops.softmax import SoftmaxCache


@engine_of(page.disentangled_attention_forward)
def disentangled_attention_forward(
    q: Array,
    k: Array,
    v: Array,
    q_rel: Array,
    k_rel: Array,
    distance_rows: Array,
    padding_mask: Array | None = None,
) -> tuple[Array, DisentangledAttentionCache]:
    xp = get_xp(q=q, k=k, v=v, q_rel=q_rel, k_rel=k_rel, distance_rows=distance_rows, padding_mask=padding_mask)
    N, H, T, K = q.shape
    check_distance_rows(distance_rows, T)
    scaled = q * _scale(K)  # (N, H, T, K)
    q_pos = q_rel[:, distance_rows[1:]] * _scale(K)  # (H, M, K) -> (H, 2T, K): i - j = -(T - 1) ... T
    k_pos = k_rel[:, distance_rows[-2::-1]]  # (H, M, K) -> (H, 2T, K): i - j = T - 1 ... -T
    bias = None if padding_mask is None else _bias(xp, padding_mask, q.dtype)  # (N, 1, T, T)
    probs = xp.empty((N, H, T, T), dtype=q.dtype)
    y = xp.empty_like(q)
    for n in _sequences(xp, probs):
        scores = scaled[n] @ k[n].swapaxes(-1, -2)  # (n, H, T, K) @ (n, H, K, T) -> (n, H, T, T)
        scores += skew(scaled[n] @ k_pos.swapaxes(-1, -2))  # c2p: (n, H, T, 2T) -> (n, H, T, T)
        scores += skew(k[n] @ q_pos.swapaxes(-1, -2)).swapaxes(-1, -2)  # p2c: rows are keys, so transpose
        if bias is not None:
            scores += bias[n]
        probs[n] = softmax_inplace(scores)
        y[n] = scores @ v[n]  # (n, H, T, T) @ (n, H, T, K) -> (n, H, T, K)
    return y, DisentangledAttentionCache(q, k, v, q_rel, k_rel, distance_rows, probs)


@engine_of(page.disentangled_attention_backward)
def disentangled_attention_backward(
    dy: Array, cache: DisentangledAttentionCache
) -> tuple[Array, Array, Array, Array, Array]:
    q, k, v, q_rel, k_rel, distance_rows, probs = cache
    xp, M = get_xp(dy=dy, probs=probs), q_rel.shape[1]
    q_pos, k_pos = q_rel[:, distance_rows[1:]], k_rel[:, distance_rows[-2::-1]]  # (H, 2T, K)
    dq, dk, dv = xp.empty_like(q), xp.empty_like(k), xp.empty_like(v)
    dq_pos, dk_pos = xp.zeros_like(q_pos), xp.zeros_like(k_pos)
    for n in _sequences(xp, probs):
        # forward: y = probs v   so
        dv[n] = probs[n].swapaxes(-1, -2) @ dy[n]
        dprobs = dy[n] @ v[n].swapaxes(-1, -2)  # (n, H, T, T)
        # forward: probs = softmax(scores)   so
        dscores = softmax_backward(dprobs, SoftmaxCache(probs[n]))
        dscores_T = dscores.swapaxes(-1, -2)
        dc2p = _skew_backward(xp, dscores)  # (n, H, T, T) -> (n, H, T, 2T)
        dp2c = _skew_backward(xp, dscores_T)
        # forward: scores = q k^T + skew(q k_pos^T) + skew(k q_pos^T)^T   so, except for the scale
        dq[n] = dscores @ k[n] + dc2p @ k_pos
        dk[n] = dscores_T @ q[n] + dp2c @ q_pos
        dq_pos += (dp2c.swapaxes(-1, -2) @ k[n]).sum(axis=0)  # (n, H, 2T, T) @ (n, H, T, K) -> (H, 2T, K)
        dk_pos += (dc2p.swapaxes(-1, -2) @ q[n]).sum(axis=0)
    for grad in (dq, dk, dq_pos, dk_pos):
        grad *= _scale(q.shape[-1])
    # forward: q_pos = q_rel[rows], k_pos = k_rel[rows in reverse order]   so   equal rows add up
    dq_rel = _sum_by_row(xp, dq_pos, distance_rows[1:], M)
    dk_rel = _sum_by_row(xp, dk_pos, distance_rows[-2::-1], M)
    return dq, dk, dv, dq_rel, dk_rel


def skew(by_distance: Array) -> Array:
    """View (..., T, 2T) as (..., T, T): entry (t, s) is entry (t, s - t + T - 1) of the argument.

    In memory, that entry is at 2T t + (s - t + T - 1) = (2T - 1) t + s + (T - 1): after the first T - 1 entries, rows
    of length 2T - 1 begin, and s counts along them.
    """
    *lead, T, _ = by_distance.shape
    flat = by_distance.reshape(*lead, 2 * T * T)[..., T - 1 : T - 1 + T * (2 * T - 1)]
    return flat.reshape(*lead, T, 2 * T - 1)[..., :T]


def _skew_backward(xp: ArrayModule, dy: Array) -> Array:
    """forward: y = skew(by_distance)   so   dy goes to where y came from, and entries that y left out get zero."""
    *lead, T, _ = dy.shape
    dby_distance = xp.zeros((*lead, T, 2 * T), dtype=dy.dtype)
    skew(dby_distance)[...] = dy
    return dby_distance


def _scale(K: int) -> float:
    return 1.0 / math.sqrt(3 * K)


def _bias(xp: ArrayModule, padding_mask: Array, dtype: Any) -> Array:
    """0 where both are tokens, -inf elsewhere: (N, T) -> (N, 1, T, T)"""
    seen = padding_mask[:, :, None] & padding_mask[:, None, :]
    return xp.where(seen, 0.0, -math.inf).astype(dtype)[:, None]


def _sequences(xp: ArrayModule, probs: Array) -> list[slice]:
    """Slices of sequences, sized so that their (T, 2T) products fit the processor's cache."""
    N, H, T, _ = probs.shape
    return l2_chunks(N, H * T * 2 * T * probs.itemsize, xp)


def _sum_by_row(xp: ArrayModule, dpos: Array, rows: Array, M: int) -> Array:
    """(H, 2T, K) -> (H, M, K)"""
    H, _, K = dpos.shape
    drel = xp.zeros((M, H * K), dtype=dpos.dtype)
    scatter_add(drel, rows, dpos.transpose(1, 0, 2).reshape(-1, H * K))
    return drel.reshape(M, H, K).transpose(1, 0, 2)
