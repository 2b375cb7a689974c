"""Embedding: a table of rows with the op of `ops/embedding.py`."""

from minilora.arrays.backend import Array
from minilora.ops.fast import EmbeddingCache, embedding_backward, embedding_forward
from minilora.parameter import Module, Parameter


class Embedding(Module):
    """y = W[ids].

    Parameters
    ----------
    W : ndarray of shape (V, C)
    """

    def __init__(self, W: Array) -> None:
        self.W = Parameter(W)

    def forward(self, ids: Array) -> tuple[Array, EmbeddingCache]:
        """Integers (...) -> (..., C)"""
        return embedding_forward(ids, self.W.data)

    def backward(self, dy: Array, cache: EmbeddingCache) -> None:
        """Add to W's gradient; ids have none, so nothing is returned."""
        if self.W.trainable:
            self.W.accumulate(embedding_backward(dy, cache))
