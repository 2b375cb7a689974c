"""Singular value decompositions of a matrix, and of a product of two thin factors, which is never formed.

`lanczos.py` has the leading part of that of a W which is too large for the whole.

All of it happens on the host, in float64.
"""

from typing import NamedTuple

import numpy

from minilora.analysis.changes import Delta, Factors, as_matrix
from minilora.arrays.backend import Array


class SVD(NamedTuple):
    """M = U @ diag(S) @ Vt, with S from large to small."""

    U: numpy.ndarray  # (O, r), orthonormal columns: directions of the output
    S: numpy.ndarray  # (r,)
    Vt: numpy.ndarray  # (r, I), orthonormal rows: directions of the input

    def leading(self, r: int) -> "SVD":
        """The first r values and vectors."""
        return SVD(self.U[:, :r], self.S[:r], self.Vt[:r])


def factored_svd(B: Array, A: Array, scale: float = 1.0) -> SVD:
    """Singular values and vectors of scale * B @ A, without the (O, I) product.

    With B = Q_B R_B and A^T = Q_A R_A, where Q_B (O, r) and Q_A (I, r) have orthonormal columns,

        scale B A = Q_B (scale R_B R_A^T) Q_A^T.

    The bracket is only r x r. If U' S V'^T is its singular value decomposition, that of the product is
    (Q_B U') S (Q_A V')^T, because a product of matrices with orthonormal columns has orthonormal columns. The time is
    (O + I) r^2, not O I min(O, I).

    Parameters
    ----------
    B : ndarray of shape (O, r)
    A : ndarray of shape (r, I)
    scale : float

    Returns
    -------
    SVD
        U (O, n), S (n,) and Vt (n, I), with n = min(O, r, I): r, but for a rank above min(O, I). Vectors whose singular
        value is zero are arbitrary.
    """
    B, A = as_matrix("B", B), as_matrix("A", A)
    if B.shape[1] != A.shape[0]:
        raise ValueError(f"B had shape {B.shape} and A {A.shape}; they must be (O, r) and (r, I)")
    Q_B, R_B = numpy.linalg.qr(B)  # (O, r), (r, r)
    Q_A, R_A = numpy.linalg.qr(A.T)  # (I, r), (r, r)
    U, S, Vt = numpy.linalg.svd(scale * (R_B @ R_A.T), full_matrices=False)  # (r, r), (r,), (r, r)
    return SVD(Q_B @ U, S, Vt @ Q_A.T)


def svd_of(M: Delta, name: str = "M") -> SVD:
    """The singular value decomposition of a matrix, or of Factors without their product.

    Parameters
    ----------
    M : ndarray of shape (O, I), or Factors
    name : str
        What an error calls M.

    Returns
    -------
    SVD
        With n = min(O, I), or min(O, r, I) of Factors: U (O, n), S (n,) and Vt (n, I).
    """
    if isinstance(M, Factors):
        return factored_svd(*M)
    return SVD(*numpy.linalg.svd(as_matrix(name, M), full_matrices=False))


def shape_of(M: Delta) -> tuple[int, int]:
    """(O, I) of a matrix or of the product of Factors."""
    return (M.B.shape[0], M.A.shape[1]) if isinstance(M, Factors) else numpy.shape(M)


def rank_of_spectrum(S: numpy.ndarray, M: Delta) -> int:
    """How many singular values S of M, from large to small, are more than rounding: see `numerical_rank`.

    M must be the original, not a float64 copy: the rounding is that of the dtype in which M was computed.
    """
    return int(numpy.count_nonzero(S > S[0] * max(shape_of(M)) * _eps(M)))


def _eps(M: Delta) -> float:
    """The eps of a matrix's dtype, or of its factors'; float64's for integers and lists."""
    dtype = numpy.result_type(M.B, M.A) if isinstance(M, Factors) else getattr(M, "dtype", int)
    return numpy.finfo(dtype if numpy.issubdtype(dtype, numpy.floating) else numpy.float64).eps
