"""Embedding, y[n, t] = W[ids[n, t]]: the lookup of a row, which is a product with a one-hot matrix.

Derivation. y = onehot(ids) W, so dW = onehot(ids)^T dy: row v of dW is the sum of dy over all positions where ids = v.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device, get_xp


class EmbeddingCache(NamedTuple):
    ids: Array  # integers of any shape
    W: Array  # (V, C)


def embedding_forward(ids: Array, W: Array) -> tuple[Array, EmbeddingCache]:
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
    check_same_device(ids=ids, W=W)
    return W[ids], EmbeddingCache(ids, W)


def embedding_backward(dy: Array, cache: EmbeddingCache) -> Array:
    """The gradient with respect to W, (V, C); ids are integers and have none."""
    ids, W = cache
    xp = get_xp(dy=dy, W=W)
    # forward: y = W[ids]   so
    dW = xp.zeros_like(W)  # (V, C)
    xp.add.at(dW, ids, dy)  # dW[ids] += dy; an id can occur more than once
    return dW
