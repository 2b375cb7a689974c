"""Embedding, y[n, t] = W[ids[n, t]]: the lookup of a row, which is a product with a one-hot matrix.

Derivation. y = onehot(ids) W, so dW = onehot(ids)^T dy: row v of dW is the sum of dy over all places where ids = v.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp, scatter_add
from minilora.ops.rows import rows


class EmbeddingCache(NamedTuple):
    ids: Any  # integers of any shape
    W: Any  # (V, C)


def embedding_forward(ids, W):
    """y = W[ids].

    Parameters
    ----------
    ids : integer ndarray of any shape (...), each from 0 to V - 1
    W : ndarray of shape (V, C)

    Returns
    -------
    y : ndarray of shape (..., C)
    cache : EmbeddingCache
    """
    get_xp(ids=ids, W=W)
    return W[ids], EmbeddingCache(ids, W)


def embedding_backward(dy, cache):
    """The gradient with respect to W, (..., C) -> (V, C); ids are integers and have none."""
    xp = get_xp(dy=dy, ids=cache.ids)
    dW = xp.zeros_like(cache.W)
    scatter_add(dW, cache.ids.reshape(-1), rows(dy))
    return dW
