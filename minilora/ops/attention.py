"""Scaled dot-product attention, y = softmax(q k^T / sqrt(K) + bias) v, for each head of each sequence.

Derivation. With scores = q k^T / sqrt(K), probs = softmax(scores + bias) and y = probs v, each line is a product of matrices:

    dprobs  = dy v^T                  dv = probs^T dy
    dscores = softmax's backward
    dq      = dscores k / sqrt(K)     dk = dscores^T q / sqrt(K)

The bias is 0 where a query may see a key and -inf where it may not, a constant; a key that is not seen has probability
zero, and so its dscores is zero without further care.
"""

import math
from typing import Any, NamedTuple

from minilora.backend import get_xp
from minilora.ops.softmax import SoftmaxCache, softmax_backward, softmax_inplace


class AttentionCache(NamedTuple):
    q: Any  # (N, H, T_q, K), scaled by 1 / sqrt(K)
    k: Any  # (N, H, T, K)
    v: Any  # (N, H, T, K)
    probs: Any  # (N, H, T_q, T)


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
    T_q, T = q.shape[-2], k.shape[-2]
    q = q * (1.0 / math.sqrt(q.shape[-1]))
    scores = q @ k.swapaxes(-1, -2)  # (N, H, T_q, K) @ (N, H, K, T) -> (N, H, T_q, T)
    if causal and T_q > 1:
        scores += xp.triu(xp.full((T_q, T), -math.inf, dtype=scores.dtype), k=T - T_q + 1)
    if key_mask is not None:
        scores += xp.where(key_mask, 0.0, -math.inf).astype(scores.dtype)[:, None, None, :]
    probs = softmax_inplace(scores)
    return probs @ v, AttentionCache(q, k, v, probs)


def attention_backward(dy, cache):
    """Gradients with respect to q, k and v, each of shape (N, H, T, K)."""
    q, k, v, probs = cache
    # forward: y = probs @ v   so
    dv = probs.swapaxes(-1, -2) @ dy  # (N, H, T, T_q) @ (N, H, T_q, K) -> (N, H, T, K)
    dprobs = dy @ v.swapaxes(-1, -2)  # (N, H, T_q, K) @ (N, H, K, T) -> (N, H, T_q, T)
    # forward: probs = softmax(scores)   so
    dscores = softmax_backward(dprobs, SoftmaxCache(probs))
    # forward: scores = (q / sqrt(K)) @ k.T   so
    dk = dscores.swapaxes(-1, -2) @ q  # q in the cache is scaled
    dq = dscores @ k
    dq *= 1.0 / math.sqrt(q.shape[-1])
    return dq, dk, dv
