"""DeBERTa's disentangled attention: what a token says and how far away it stands meet in three products.

    scores[i, j] = (q_i . k_j  +  q_i . k_rel[m]  +  k_j . q_rel[m]) / sqrt(3 K),    m the row for the distance i - j
    y            = softmax(scores) v                                                 (`ops/log_buckets.py`)

The terms are content to content, content to position (c2p) and position to content (p2c). This is equation 4 of He et
al. (2021), except for one index: the paper writes delta(j, i) in the last term; transformers, and so every checkpoint
that it runs, has the same m in both. Only tokens see, and only tokens are seen: a padded query gets y = 0.

Derivation. With s = 1 / sqrt(3 K), and dscores from softmax's backward as in `ops/attention.py`,

    dq_i      = s sum_j dscores_ij (k_j + k_rel[m])           dk_j      = s sum_i dscores_ij (q_i + q_rel[m])
    dk_rel[m] = s sum of dscores_ij q_i                       dq_rel[m] = s sum of dscores_ij k_j

where the last two sum over all sequences and all pairs (i, j) whose distance has row m. In the code, each sum is an
einsum with the letters of the formula: n sequences, h heads, i queries, j keys, k channels of a head.
"""

import math
from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.ops.softmax import SoftmaxCache, softmax_backward, softmax_forward


class DisentangledAttentionCache(NamedTuple):
    q: Array  # (N, H, T, K)
    k: Array  # (N, H, T, K)
    v: Array  # (N, H, T, K)
    q_rel: Array  # (H, M, K)
    k_rel: Array  # (H, M, K)
    distance_rows: Array  # (2T + 1,)
    probs: Array  # (N, H, T, T): who looks at whom


def disentangled_attention_forward(
    q: Array,
    k: Array,
    v: Array,
    q_rel: Array,
    k_rel: Array,
    distance_rows: Array,
    padding_mask: Array | None = None,
) -> tuple[Array, DisentangledAttentionCache]:
    """y = softmax((q k^T + c2p + p2c) / sqrt(3 K)) v.

    Parameters
    ----------
    q, k, v : ndarray of shape (N, H, T, K)
    q_rel, k_rel : ndarray of shape (H, M, K)
        The relative embeddings, projected as q and k are.
    distance_rows : integer ndarray of shape (2 T + 1,)
        The row of q_rel and k_rel for each distance i - j from -T to T, from `relative_rows`.
    padding_mask : boolean ndarray of shape (N, T), optional
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
    xp = get_xp(q=q, k=k, v=v, q_rel=q_rel, k_rel=k_rel, distance_rows=distance_rows, padding_mask=padding_mask)
    check_distance_rows(distance_rows, q.shape[2])
    m = rows_of_pairs(distance_rows, q.shape[2])  # (T, T)
    scores = xp.einsum("nhik,nhjk->nhij", q, k)  # (N, H, T, T)
    scores = scores + xp.einsum("nhik,hijk->nhij", q, k_rel[:, m])  # c2p, with k_rel[:, m] (H, T, T, K)
    scores = scores + xp.einsum("nhjk,hijk->nhij", k, q_rel[:, m])  # p2c
    scores = scores / math.sqrt(3 * q.shape[3])
    if padding_mask is not None:
        seen = padding_mask[:, None, :, None] & padding_mask[:, None, None, :]  # (N, 1, T, T)
        scores = xp.where(seen, scores, -math.inf)
    probs, _ = softmax_forward(scores)  # (N, H, T, T)
    y = probs @ v  # (N, H, T, T) @ (N, H, T, K) -> (N, H, T, K)
    return y, DisentangledAttentionCache(q, k, v, q_rel, k_rel, distance_rows, probs)


def disentangled_attention_backward(
    dy: Array, cache: DisentangledAttentionCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients with respect to q, k and v, (N, H, T, K), q_rel and k_rel, (H, M, K)."""
    q, k, v, q_rel, k_rel, distance_rows, probs = cache
    xp = get_xp(dy=dy, probs=probs)
    m = rows_of_pairs(distance_rows, q.shape[2])  # (T, T)
    # forward: y = probs v   so
    dv = probs.swapaxes(-1, -2) @ dy  # (N, H, T, K)
    dprobs = dy @ v.swapaxes(-1, -2)  # (N, H, T, T)
    # forward: probs = softmax(scores), scores = (...) / sqrt(3 K)   so
    ds = softmax_backward(dprobs, SoftmaxCache(probs)) / math.sqrt(3 * q.shape[3])  # s dscores, (N, H, T, T)
    # forward: scores_ij = (q_i . k_j + q_i . k_rel[m] + k_j . q_rel[m]) / sqrt(3 K)   so
    dq = ds @ k + xp.einsum("nhij,hijk->nhik", ds, k_rel[:, m])  # (N, H, T, K)
    dk = ds.swapaxes(-1, -2) @ q + xp.einsum("nhij,hijk->nhjk", ds, q_rel[:, m])  # (N, H, T, K)
    dq_rel, dk_rel = xp.zeros_like(q_rel), xp.zeros_like(k_rel)  # (H, M, K)
    xp.add.at(dq_rel, (slice(None), m), xp.einsum("nhij,nhjk->hijk", ds, k))  # pairs with one m add up
    xp.add.at(dk_rel, (slice(None), m), xp.einsum("nhij,nhik->hijk", ds, q))
    return dq, dk, dv, dq_rel, dk_rel


def rows_of_pairs(distance_rows: Array, T: int) -> Array:
    """m[i, j], the row for the distance i - j: (2T + 1,) -> (T, T)."""
    i = get_xp(distance_rows=distance_rows).arange(T)
    return distance_rows[i[:, None] - i + T]


def check_distance_rows(distance_rows: Array, T: int) -> None:
    """Raise a ValueError if there is not one row for each distance from -T to T."""
    if distance_rows.shape != (2 * T + 1,):
        raise ValueError(f"distance_rows had shape {distance_rows.shape}; for T = {T} it must be {(2 * T + 1,)}")
