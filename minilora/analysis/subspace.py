"""Which directions an adaptation has found, and whether two adaptations found the same (the paper, section 7.2).

    phi = subspace_similarity(A1, A2)               # the paper's: directions of A
    V1 = factored_svd(B1, A1, scale).Vt             # directions of delta_W itself
    phi = similarity_of_bases(V1, V2)               # ... which do not depend on how it is split into B and A
    z = z_scores(phi, I)                            # how far above chance: see `random_subspaces.py`
    phi = left_subspace_similarity(B1, B2)          # directions of B, on the side of the output
    angles = principal_angles(V1, V2)

All of it happens on the host, in float64.
"""

import numpy

from minilora.analysis.changes import as_matrix
from minilora.analysis.svd import rank_of_spectrum
from minilora.arrays.backend import Array, to_numpy


def subspace_similarity(A1: Array, A2: Array) -> numpy.ndarray:
    """How much of the subspace of one adapter's first i directions lies in that of another's first j.

    The paper's equation 4, where U_A^i has the i leading right-singular vectors of A as its columns:

        phi(A1, A2, i, j) = ||U_A1^i^T U_A2^j||_F^2 / min(i, j)

    from 0 (orthogonal) to 1 (one contains the other). Two slips of the paper: its appendix G calls the vectors
    left-singular, but those have r entries, and could not be compared between two ranks; and where it relates phi to
    the projection metric d, that should read phi = 1 - d^2 / p with p = min(i, j).

    phi looks only at A, and the same delta_W has many A: (B M)(M^-1 A) = B A. Only phi(r, r), on the whole row space,
    is the same for all of them; phi(i < r) is not. For numbers that depend only on delta_W, give `similarity_of_bases`
    the Vt of `factored_svd`.

    Parameters
    ----------
    A1 : ndarray of shape (r1, I)
    A2 : ndarray of shape (r2, I)

    Returns
    -------
    phi : ndarray of shape (r1, r2)
        phi(i, j) is ``phi[i - 1, j - 1]``.

    Raises
    ------
    ValueError
        If a matrix is not 2-D, not finite or not of full row rank, or the two differ in I.
    """
    return similarity_of_bases(_right_singular_vectors("A1", A1), _right_singular_vectors("A2", A2))


def left_subspace_similarity(B1: Array, B2: Array) -> numpy.ndarray:
    """phi(i, j) of the left-singular vectors of B, the directions of the output (the paper, footnote 7).

    They are the right-singular vectors of B^T: this is `subspace_similarity` of the transposes.

    Parameters
    ----------
    B1 : ndarray of shape (O, r1)
    B2 : ndarray of shape (O, r2)
        Of full column rank, which B = 0 at the start of training is not.

    Returns
    -------
    phi : ndarray of shape (r1, r2)
    """
    as_matrix("B1", B1), as_matrix("B2", B2)  # an error names what was given, not its transpose
    V1, V2 = (_right_singular_vectors(f"{name}^T", to_numpy(B).T) for name, B in (("B1", B1), ("B2", B2)))
    return similarity_of_bases(V1, V2)


def similarity_of_bases(V1: Array, V2: Array) -> numpy.ndarray:
    """The grid of phi(i, j) between the first i rows of V1 and the first j rows of V2.

    With G_ab = (v1_a . v2_b)^2, the numerator ||V1[:i] V2[:j]^T||_F^2 is the sum of G over a <= i and b <= j: one
    product and two cumulative sums give all of them.

    Parameters
    ----------
    V1 : ndarray of shape (r1, I)
    V2 : ndarray of shape (r2, I)
        Orthonormal rows, in order of importance.

    Returns
    -------
    phi : ndarray of shape (r1, r2)
    """
    V1, V2 = _comparable(V1, V2)
    G = (V1 @ V2.T) ** 2  # (r1, I) @ (I, r2) -> (r1, r2)
    overlap = G.cumsum(axis=0).cumsum(axis=1)  # (r1, r2)
    i, j = numpy.ogrid[1 : len(V1) + 1, 1 : len(V2) + 1]  # (r1, 1), (1, r2)
    return numpy.minimum(overlap / numpy.minimum(i, j), 1.0)  # 1 + 1e-16 is rounding


def principal_angles(V1: Array, V2: Array) -> numpy.ndarray:
    """The angles between the subspaces that the rows of V1 and of V2 span, from small to large.

    The first is the smallest angle between a vector of one and a vector of the other; the next, the smallest among
    vectors orthogonal to those two; and so on. Their cosines are the singular values of V1 V2^T (Jordan, 1875; Bjorck &
    Golub, "Numerical methods for computing angles between linear subspaces", 1973), so that for p = min(r1, r2)

        phi(r1, r2) = ||V1 V2^T||_F^2 / p = mean of cos^2.

    The arc cosine of 1 - 1e-16 is 1e-8, though: below 45 degrees the angles are found by their sines instead, which are
    the singular values of what V1 leaves of the rows of V2, V2 - V2 V1^T V1.

    Parameters
    ----------
    V1 : ndarray of shape (r1, n)
    V2 : ndarray of shape (r2, n)
        Orthonormal rows.

    Returns
    -------
    angles : ndarray of shape (min(r1, r2),)
        In radians, from 0 to pi / 2.
    """
    V1, V2 = _comparable(V1, V2)
    if len(V1) < len(V2):
        V1, V2 = V2, V1
    G = V2 @ V1.T  # (r2, n) @ (n, r1) -> (r2, r1), now with r2 <= r1
    cosines = numpy.linalg.svd(G, compute_uv=False)  # (r2,)
    sines = numpy.linalg.svd(V2 - G @ V1, compute_uv=False)[::-1]  # (r2,), from small to large
    by_sine, by_cosine = numpy.arcsin(numpy.minimum(sines, 1.0)), numpy.arccos(numpy.minimum(cosines, 1.0))
    return numpy.where(cosines**2 > 0.5, by_sine, by_cosine)


def _comparable(V1: Array, V2: Array) -> tuple[numpy.ndarray, numpy.ndarray]:
    V1, V2 = _orthonormal("V1", V1), _orthonormal("V2", V2)
    if V1.shape[1] != V2.shape[1]:
        raise ValueError(f"the two have {V1.shape[1]} and {V2.shape[1]} columns; they must have the same number")
    return V1, V2


def _right_singular_vectors(name: str, A: Array) -> numpy.ndarray:
    _, S, Vt = numpy.linalg.svd(as_matrix(name, A), full_matrices=False)  # (r, I) -> (r, r), (r,), (r, I)
    rank = rank_of_spectrum(S, A)
    if rank < len(A):
        raise ValueError(f"{name} had {len(A)} rows but rank {rank}; directions beyond the rank would be arbitrary")
    return Vt


def _orthonormal(name: str, V: Array) -> numpy.ndarray:
    V = as_matrix(name, V)
    if not numpy.allclose(V @ V.T, numpy.eye(len(V)), atol=1e-6):
        raise ValueError(f"{name} has rows that are not orthonormal; they must be, as the Vt of factored_svd is")
    return V
