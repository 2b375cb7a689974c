"""Scaled dot-product attention, y = softmax(q k^T / sqrt(K)) v, for each head of each sequence.

Derivation. With scores = q k^T / sqrt(K), probs = softmax(scores) and y = probs v, each line is a product:

    dprobs  = dy v^T                  dv = probs^T dy
    dscores = probs * (dprobs - D)    D_i = sum_j dprobs_ij probs_ij       (`ops/softmax.py`)
    dq      = dscores k / sqrt(K)     dk = dscores^T q / sqrt(K)

A score is -inf where a query must not see a key. That key has probability zero, so its dscores is zero automatically.
"""

import math
from typing import Any, NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.ops.softmax import SoftmaxCache, softmax_backward, softmax_forward


class AttentionCache(NamedTuple):
    q: Array  # (N, H, T_q, K)
    k: Array  # (N, H, T, K)
    v: Array  # (N, H, T, K)
    probs: Array  # (N, H, T_q, T): who looks at whom


def attention_forward(
    q: Array, k: Array, v: Array, padding_mask: Array | None = None, *, causal: bool = True
) -> tuple[Array, Any]:
    """y = softmax(q k^T / sqrt(K)) v, where each query sees some of the keys.

    Parameters
    ----------
    q : ndarray of shape (N, H, T_q, K)
        The queries of the last T_q of T positions: T_q = T in training, 1 when one token is generated.
    k, v : ndarray of shape (N, H, T, K)
    padding_mask : boolean ndarray of shape (N, T), optional
        False for keys that must not be seen. A query that sees no key gets y = 0.
    causal : bool
        If True, a query only sees the keys at its own and at earlier positions.

    Returns
    -------
    y : ndarray of shape (N, H, T_q, K)
    cache : AttentionCache
    """
    xp = get_xp(q=q, k=k, v=v, padding_mask=padding_mask)
    T_q, T, K = q.shape[2], k.shape[2], q.shape[3]
    sees = xp.tri(T_q, T, k=T - T_q if causal else T, dtype=bool)  # (T_q, T): query i sees key j
    if padding_mask is not None:
        sees = sees & padding_mask[:, None, None, :]  # (T_q, T), (N, 1, 1, T) -> (N, 1, T_q, T)
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(K)  # (N, H, T_q, K) @ (N, H, K, T) -> (N, H, T_q, T)
    probs, _ = softmax_forward(xp.where(sees, scores, -math.inf))  # (N, H, T_q, T)
    y = probs @ v  # (N, H, T_q, T) @ (N, H, T, K) -> (N, H, T_q, K)
    return y, AttentionCache(q, k, v, probs)


def attention_backward(dy: Array, cache: AttentionCache) -> tuple[Array, Array, Array]:
    """Gradients with respect to q, (N, H, T_q, K), k and v, (N, H, T, K)."""
    q, k, v, probs = cache.q, cache.k, cache.v, cache.probs
    root = math.sqrt(q.shape[-1])
    # forward: y = probs v   so
    dv = probs.swapaxes(-1, -2) @ dy  # (N, H, T, T_q) @ (N, H, T_q, K) -> (N, H, T, K)
    dprobs = dy @ v.swapaxes(-1, -2)  # (N, H, T_q, K) @ (N, H, K, T) -> (N, H, T_q, T)
    # forward: probs = softmax(scores)   so
    dscores = softmax_backward(dprobs, SoftmaxCache(probs))  # (N, H, T_q, T)
    # forward: scores = q k^T / sqrt(K)   so
    dq = dscores @ k / root  # (N, H, T_q, T) @ (N, H, T, K) -> (N, H, T_q, K)
    dk = dscores.swapaxes(-1, -2) @ q / root  # (N, H, T, T_q) @ (N, H, T_q, K) -> (N, H, T, K)
    return dq, dk, dv
