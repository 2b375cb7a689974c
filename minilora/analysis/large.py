"""Norm and products of a weight that is too large to copy: in float64, a few rows at a time.

GPT-3's W_q, 12288 x 12288, takes 604 MB in float32, and would take twice as much in float64.
"""

import math
from collections.abc import Iterator

import numpy

from minilora.arrays.backend import Array, to_numpy
from minilora.arrays.chunks import row_chunks

BLOCK_BYTES = 16 * 2**20  # of a block in float64


def host_matrix(name: str, W: Array) -> numpy.ndarray:
    """W on the host, in its own dtype, without a copy if it is already there; it must be a matrix of finite numbers."""
    W = to_numpy(W)
    if W.ndim != 2 or 0 in W.shape:
        raise ValueError(f"{name} had shape {W.shape}; it must be a matrix")
    if not all(numpy.isfinite(block).all() for _, block in _blocks(W)):
        raise ValueError(f"{name} holds NaN or infinite values")
    return W


def frobenius_norm(W: numpy.ndarray) -> float:
    """||W||_F."""
    return math.sqrt(sum(numpy.vdot(block, block) for _, block in _blocks(W)))


def times(W: numpy.ndarray, X: numpy.ndarray) -> numpy.ndarray:
    """W X: (O, I) @ (I, n) -> (O, n)."""
    product = numpy.empty((W.shape[0], X.shape[1]))
    for rows, block in _blocks(W):
        product[rows] = block @ X
    return product


def transposed_times(W: numpy.ndarray, X: numpy.ndarray) -> numpy.ndarray:
    """W^T X: (I, O) @ (O, n) -> (I, n)."""
    product = numpy.zeros((W.shape[1], X.shape[1]))
    for rows, block in _blocks(W):
        product += block.T @ X[rows]
    return product


def _blocks(W: numpy.ndarray) -> Iterator[tuple[slice, numpy.ndarray]]:
    for rows in row_chunks(W.shape[0], 8 * W.shape[1], BLOCK_BYTES):
        yield rows, W[rows].astype(numpy.float64)
