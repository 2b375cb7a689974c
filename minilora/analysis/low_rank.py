"""How well a matrix of lower rank, B @ A, approximates a matrix, and what the two factors cost.

low = low_rank_approximation(W, 4)               # the best B and A of rank 4, and how far B A is from W
errors = low_rank_errors(W)                      # for every rank: parameters, and what is left out
"""

from typing import NamedTuple

import numpy

from minilora.analysis.changes import Delta
from minilora.analysis.spectrum import singular_values
from minilora.analysis.svd import shape_of, svd_of


class LowRank(NamedTuple):
    """The best approximation of a matrix by B @ A of rank r, and what it leaves out."""

    B: numpy.ndarray  # (O, r)
    A: numpy.ndarray  # (r, I)
    frobenius_error: float  # ||M - B A||_F, the root of the sum of all squared differences
    spectral_error: float  # ||M - B A||_2, the largest difference in length for a vector x of length 1

    @property
    def product(self) -> numpy.ndarray:
        """B @ A, (O, r) @ (r, I) -> (O, I)."""
        return self.B @ self.A

    @property
    def parameters(self) -> int:
        """r (O + I), where M has O I entries."""
        return self.B.size + self.A.size


def low_rank_approximation(M: Delta, r: int) -> LowRank:
    """The matrix of rank r that is closest to M, as a product B A, with its exact error (Eckart & Young, 1936).

        B A = sum over i <= r of S_i u_i v_i^T,   B = U_r S_r^(1/2),   A = S_r^(1/2) V_r^T,
        ||M - B A||_2 = S_(r+1),                  ||M - B A||_F = (sum over i > r of S_i^2)^(1/2).

    The errors are the norms of M - B A = sum over i > r of S_i u_i v_i^T, whose singular values are those left out. No
    N of rank r does better: N sends to zero a space of I - r dimensions, which must meet the r + 1 dimensional span of
    v_1, ..., v_(r+1) in some x of length 1, and there ||(M - N) x|| = ||M x|| >= S_(r+1). That is the claim for the
    2-norm. For the Frobenius norm, apply this to the best approximation of M - N of rank i - 1, for each i: together
    with N, its rank is at most r + i - 1, so that S_i(M - N) >= S_(r+i)(M); squaring and summing does the rest
    (Mirsky, 1960).

    So no LoRA of rank r is closer to the delta_W of full fine-tuning than its own approximation of rank r.

    Parameters
    ----------
    M : ndarray of shape (O, I), or Factors
    r : int
        From 1 to min(O, I), or to the rank of Factors.

    Returns
    -------
    LowRank
    """
    U, S, Vt = svd_of(M)
    if not 1 <= r <= len(S):
        raise ValueError(f"r was {r}; it must be an integer from 1 to {len(S)}")
    root = numpy.sqrt(S[:r])  # (r,)
    left_out = numpy.append(S[r:], 0.0)  # with r = len(S), nothing
    return LowRank(U[:, :r] * root, root[:, None] * Vt[:r], float(numpy.linalg.norm(left_out)), float(left_out[0]))


class LowRankErrors(NamedTuple):
    """What the best approximation of each rank costs and leaves out. Index r of each array is rank r."""

    parameters: numpy.ndarray  # (n + 1,)  r (O + I)
    frobenius: numpy.ndarray  # (n + 1,)  ||M - B A||_F; at rank 0, ||M||_F
    spectral: numpy.ndarray  # (n + 1,)  ||M - B A||_2


def low_rank_errors(M: Delta) -> LowRankErrors:
    """Parameters against error, for every rank from 0 to n = min(O, I): see `low_rank_approximation`.

    The parameters r (O + I) reach the O I of M itself at r = O I / (O + I), half of n where M is square: beyond, the
    two factors are larger than the matrix that they replace.

    Parameters
    ----------
    M : ndarray of shape (O, I), or Factors

    Returns
    -------
    LowRankErrors
    """
    S = numpy.append(singular_values(M), 0.0)  # S[r] is the largest that rank r leaves out
    energy = numpy.cumsum(S[::-1] ** 2)[::-1]  # of S[r:]; summed from the smallest, so that none is lost
    return LowRankErrors(sum(shape_of(M)) * numpy.arange(len(S)), numpy.sqrt(energy), S)
