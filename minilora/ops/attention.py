"""Scaled dot-product attention, y = softmax(q k^T / sqrt(K)) v, for each head of each sequence.

Derivation. With scores = q k^T / sqrt(K), probs = softmax(scores) and y = probs v, each line is a product:

    dprobs  = dy v^T                  dv = probs^T dy
    dscores = probs * (dprobs - D)    D_i = sum_j dprobs_ij probs_ij       (`ops/softmax.py`)
    dq      = dscores k / sqrt(K)     dk = dscores^T q / sqrt(K)

A score is -inf where a query must not see a key. That key has probability zero, so its dscores is zero automatically.

With grouped queries (Ainslie et al., 2023, GQA), H query heads share G key-value heads: head h reads number
h // (H / G). The keys and values of a group are read H / G times, so their gradients are sums of H / G terms.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.ops.softmax import SoftmaxCache, softmax_backward, softmax_forward
from minilora.ops.text_lengths import texts_of_positions


class AttentionCache(NamedTuple):
    q: Array  # (N, H, T_q, K)
    k: Array  # (N, G, T, K)
    v: Array  # (N, G, T, K)
    probs: Array  # (N, H, T_q, T): who looks at whom


def attention_forward(
    q: Array,
    k: Array,
    v: Array,
    padding_mask: Array | None = None,
    *,
    causal: bool = True,
    text_lengths: Sequence[Sequence[int]] | None = None,
) -> tuple[Array, Any]:
    """y = softmax(q k^T / sqrt(K)) v, where each query sees some of the keys.

    Parameters
    ----------
    q : ndarray of shape (N, H, T_q, K)
        The queries of the last T_q of T positions: T_q = T in training, 1 when one token is generated.
    k, v : ndarray of shape (N, G, T, K)
        G divides H; query head h reads key-value head h // (H / G).
    padding_mask : boolean ndarray of shape (N, T), optional
        False for keys that must not be seen. A query that sees no key gets y = 0.
    causal : bool
        If True, a query only sees the keys at its own and at earlier positions.
    text_lengths : sequence of N sequences of int, optional
        Each row holds texts of these lengths, one after the other, which sum to T; a query only sees keys of its own
        text.

    Returns
    -------
    y : ndarray of shape (N, H, T_q, K)
    cache : AttentionCache

    Raises
    ------
    ValueError
        If T_q is above T, G does not divide H, or the lengths do not fit.
    """
    xp = get_xp(q=q, k=k, v=v, padding_mask=padding_mask)
    check_queries(q, k)
    T_q, T, K = q.shape[2], k.shape[2], q.shape[3]
    sees = xp.tri(T_q, T, k=T - T_q if causal else T, dtype=bool)  # (T_q, T): query i sees key j
    if padding_mask is not None:
        sees = sees & padding_mask[:, None, None, :]  # (T_q, T), (N, 1, 1, T) -> (N, 1, T_q, T)
    if text_lengths is not None:
        text = xp.asarray(texts_of_positions(text_lengths, len(k), T))[:, None]  # (N, 1, T)
        sees = sees & (text[..., T - T_q :, None] == text[..., None, :])  # -> (N, 1, T_q, T)
    k_h, v_h = (xp.repeat(a, heads_per_group(q, k), axis=1) for a in (k, v))  # (N, G, T, K) -> (N, H, T, K)
    scores = q @ k_h.swapaxes(-1, -2) / math.sqrt(K)  # (N, H, T_q, K) @ (N, H, K, T) -> (N, H, T_q, T)
    probs, _ = softmax_forward(xp.where(sees, scores, -math.inf))  # (N, H, T_q, T)
    y = probs @ v_h  # (N, H, T_q, T) @ (N, H, T, K) -> (N, H, T_q, K)
    return y, AttentionCache(q, k, v, probs)


def attention_backward(dy: Array, cache: AttentionCache) -> tuple[Array, Array, Array]:
    """Gradients with respect to q, (N, H, T_q, K), k and v, (N, G, T, K)."""
    q, k, v, probs = cache.q, cache.k, cache.v, cache.probs
    root, (N, G, T, K) = math.sqrt(q.shape[-1]), k.shape
    k_h, v_h = (get_xp(k=k).repeat(a, heads_per_group(q, k), axis=1) for a in (k, v))  # -> (N, H, T, K)
    # forward: y = probs v_h   so
    dv_h = probs.swapaxes(-1, -2) @ dy  # (N, H, T, T_q) @ (N, H, T_q, K) -> (N, H, T, K)
    dprobs = dy @ v_h.swapaxes(-1, -2)  # (N, H, T_q, K) @ (N, H, K, T) -> (N, H, T_q, T)
    # forward: probs = softmax(scores)   so
    dscores = softmax_backward(dprobs, SoftmaxCache(probs))  # (N, H, T_q, T)
    # forward: scores = q k_h^T / sqrt(K)   so
    dq = dscores @ k_h / root  # (N, H, T_q, T) @ (N, H, T, K) -> (N, H, T_q, K)
    dk_h = dscores.swapaxes(-1, -2) @ q / root  # (N, H, T, T_q) @ (N, H, T_q, K) -> (N, H, T, K)
    # forward: the H / G heads of a group have one k and one v   so   their gradients are summed
    dk, dv = (a.reshape(N, G, q.shape[1] // G, T, K).sum(axis=2) for a in (dk_h, dv_h))  # (N, H, T, K) -> (N, G, T, K)
    return dq, dk, dv


def heads_per_group(q: Array, k: Array) -> int:
    """H / G: how many query heads share one key-value head."""
    H, G = q.shape[1], k.shape[1]
    if H % G:
        raise ValueError(f"q has {H} heads and k has {G}; k's must divide q's")
    return H // G


def check_queries(q: Array, k: Array) -> None:
    """Raise a ValueError if there are more queries than positions."""
    T_q, T = q.shape[2], k.shape[2]
    if T_q > T:
        raise ValueError(f"q had {T_q} positions and k has {T}; q's must not be more, as they are k's last")
