"""LoRA on an embedding: y[n, t] = E[ids[n, t]] + scale (A^T)[ids[n, t]] B^T.

An embedding is a linear map of one-hot vectors, y = onehot(ids) E, with E^T in the place of W: so A is (r, V), B is
(C, r), and what is added to E is (scale B A)^T. A product with A is then a lookup of its columns, as that with E is one
of rows.

Derivation. With h = (A^T)[ids], y = E[ids] + scale h B^T is `ops/lora_linear.py` from here on: dh = scale dy B, and dB
is scale times the sum of dy h^T. h is a lookup in A^T, so that column v of dA is the sum of dh over all positions where
ids = v (`ops/embedding.py`), and zero for a token that does not occur. ids have no gradient.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device, get_xp
from minilora.ops.rows import rows


class LoRAEmbeddingCache(NamedTuple):
    ids: Array  # integers (...)
    h: Array  # (..., r)
    A: Array  # (r, V)
    B: Array  # (C, r)
    scale: float


def lora_embedding_forward(ids: Array, E: Array, A: Array, B: Array, scale: float) -> tuple[Array, LoRAEmbeddingCache]:
    """y = E[ids] + scale (A^T)[ids] B^T.

    Parameters
    ----------
    ids : integer ndarray of any shape (...), each from 0 to V - 1
    E : ndarray of shape (V, C)
        Frozen.
    A : ndarray of shape (r, V)
    B : ndarray of shape (C, r)
    scale : float

    Returns
    -------
    y : ndarray of shape (..., C)
    cache : LoRAEmbeddingCache
    """
    check_same_device(ids=ids, E=E, A=A, B=B)
    scale = float(scale)  # a NumPy scalar would turn float32 into float64
    h = A.T[ids]  # (..., r)
    y = E[ids] + scale * (h @ B.T)  # (..., r) @ (r, C) -> (..., C)
    return y, LoRAEmbeddingCache(ids, h, A, B, scale)


def lora_embedding_backward(dy: Array, cache: LoRAEmbeddingCache) -> tuple[Array, Array]:
    """Gradients with respect to A, (r, V), and B, (C, r); E is constant."""
    ids, h, A, B, scale = cache
    xp = get_xp(dy=dy, A=A)
    # forward: y = ... + scale h B^T     so
    dh = scale * (dy @ B)  # (..., C) -> (..., r)
    dB = scale * (rows(dy).T @ rows(h))  # (C, r)
    # forward: h = (A^T)[ids]            so
    dA = xp.zeros_like(A)  # (r, V)
    xp.add.at(dA.T, ids, dh)  # dA[:, ids] += dh; an id can occur more than once
    return dA, dB
