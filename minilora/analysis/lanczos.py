"""The leading singular values and vectors of a large W, using only products with W and W^T (block Lanczos).

Let V (I, n) and U (O, n) have orthonormal columns, and let W V = U B, with B only n x n. If the columns of V
spanned the leading right-singular vectors of W, the singular values of B would be W's. What they lack shows in

    W^T U = V (V^T W^T U) + (the rest, orthogonal to V) = V B^T + V' R,   V^T V' = 0,   for V^T W^T U = (W V)^T U = B^T.

A singular triplet of B, B q = s p and B^T p = s q, gives u = U p and v = V q with

    W v = U B q = s u   and   W^T u = V B^T p + V' R p = s v + V' R p,

so that ||R p|| says how far (s, u, v) is from a singular triplet of W. If that is too far, V' joins V, and the part of
W V' that is orthogonal to U joins U, so that W V = U B holds again. Only the latest columns of U have anything
orthogonal to V, because the V' of all others has joined it.

After k such steps from a random start Omega, V spans Omega, W^T W Omega, ..., (W^T W)^(k-1) Omega. Each power lets the
leading directions grow relative to the others, so that few steps are enough (Golub, Luk & Overton, "A block Lanczos
method for computing the singular values and corresponding singular vectors of a matrix", 1981; for the random start,
Musco & Musco, "Randomized block Krylov methods for stronger and faster approximate singular value decomposition",
2015).
"""

import numpy

from minilora.analysis.large import host_matrix, times, transposed_times
from minilora.analysis.svd import SVD, svd_of
from minilora.arrays.backend import Array

EXTRA = 8  # columns added at a time beyond r; the more, the fewer steps


def truncated_svd(W: Array, r: int, *, rng: numpy.random.Generator, tolerance: float = 1e-8) -> SVD:
    """The r leading singular values and vectors of a matrix of any size.

    W is only multiplied with: it is not copied, nor is another (O, I) array made, unless W is so small compared with r,
    or its singular values so nearly equal, that the whole decomposition takes no longer.

    Parameters
    ----------
    W : ndarray of shape (O, I)
    r : int
        From 1 to min(O, I).
    rng : numpy.random.Generator
        Draws the start, Omega.
    tolerance : float
        When ||W^T u - s v|| is small enough, as a fraction of the largest singular value. The relative error of the
        singular values is of the order of its square; of the vectors, it is the tolerance divided by the relative gap
        to the next value.

    Returns
    -------
    SVD
        U (O, r), S (r,) and Vt (r, I).
    """
    W = host_matrix("W", W)
    if not 1 <= r <= min(W.shape):
        raise ValueError(f"r was {r}; it must be an integer from 1 to {min(W.shape)}")
    width, most = r + EXTRA, min(W.shape) // 2  # width > r, so that even r equal singular values are all found
    if width > most:
        return svd_of(W, "W").leading(r)
    V, _ = numpy.linalg.qr(rng.standard_normal((W.shape[1], width)))  # (I, width)
    U, B = numpy.linalg.qr(times(W, V))  # (O, width), (width, width)
    while True:
        _, V_new, R = _split(transposed_times(W, U[:, -width:]), V)  # (I, width) = V ... + V_new R
        P, S, Qt = numpy.linalg.svd(B)  # (n, n), (n,), (n, n)
        missing = numpy.linalg.norm(R @ P[-width:, :r], axis=0)  # (r,)
        if missing.max() <= tolerance * S[0]:
            return SVD(U @ P[:, :r], S[:r], Qt[:r] @ V.T)
        if V.shape[1] + width > most:
            return svd_of(W, "W").leading(r)
        C, U_new, R = _split(times(W, V_new), U)  # (O, width) = U C + U_new R
        B = numpy.block([[B, C], [numpy.zeros((width, B.shape[1])), R]])
        U, V = numpy.hstack((U, U_new)), numpy.hstack((V, V_new))


def _split(X: numpy.ndarray, basis: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """C, Q and R such that X = basis C + Q R up to rounding, where (basis | Q) has orthonormal columns.

    Projecting once is not enough: if X lies almost in the basis, what is left is rounding error, and Q its direction.
    The second projection removes that from Q, whose columns have length one.
    """
    C = basis.T @ X
    Q, R = numpy.linalg.qr(X - basis @ C)
    Q, R_again = numpy.linalg.qr(Q - basis @ (basis.T @ Q))
    return C, Q, R_again @ R
