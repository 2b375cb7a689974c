"""What the singular values of a matrix say: its rank when numbers are rounded, and how many directions matter.

    S = singular_values(delta_W)                     # or of Factors(B, A, scale), without their product
    stable_rank(S), effective_rank(S), directions_for(S, 0.9)
    rank_measures(weight_changes(before, after))     # layer by layer

M = U diag(S) V^T is a sum of matrices of rank one, S_i u_i v_i^T, that are orthogonal to each other. So
||M||_F^2 = sum of S_i^2, which is called the energy of M here; and a rank is a number of terms.

The rank counts them all alike. `stable_rank` and `effective_rank` weigh them by their size: both go from 1 to the rank,
which they reach when all nonzero singular values are equal. 8 values of 1 and 92 of 0.1 have rank 100, stable
rank 8.9 and effective rank 59: a long tail of small values has little energy, but many directions.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy

from minilora.analysis.changes import Delta, Factors, as_matrix
from minilora.analysis.svd import factored_svd, rank_of_spectrum


def singular_values(M: Delta, name: str = "M") -> numpy.ndarray:
    """The singular values of a matrix or of scale * B @ A.

    Parameters
    ----------
    M : ndarray of shape (O, I), or Factors
        The product of factors is never formed: see `factored_svd`.
    name : str
        What an error calls M.

    Returns
    -------
    S : ndarray of shape (min(O, I),), or (min(O, r, I),) of Factors
        From large to small.
    """
    if isinstance(M, Factors):
        return factored_svd(*M).S
    return numpy.linalg.svd(as_matrix(name, M), compute_uv=False)


def numerical_rank(M: Delta, tolerance: float | None = None) -> int:
    """The number of singular values above a tolerance.

    In floating point, a matrix of rank r usually has no singular value that is exactly 0: rounding has added some
    matrix E to it, which moves singular values by up to ||E||_2 (Weyl). If each entry is off by one part in 1 / eps,

        ||E||_2 <= ||E||_F <= eps ||M||_F <= eps sqrt(min(O, I)) S_1,

    and the arithmetic that made M may have added a few times that. A singular value that is not above

        tolerance = S_1 max(O, I) eps

    can therefore be nothing but rounding. This is also NumPy's and MATLAB's choice. The numerical rank depends on M and
    on the tolerance: a delta_W of full fine-tuning has full rank, however few of its directions matter. That is what
    `effective_rank` and `directions_for` measure.

    Parameters
    ----------
    M : ndarray of shape (O, I), or Factors
    tolerance : float, optional
        At least 0, in the units of M's entries. If not given, as above, with the eps of M's dtype (float64's for
        integers); a float64 matrix whose entries were computed in float32 needs float32's, 1.2e-7.

    Returns
    -------
    int
    """
    S = singular_values(M)
    if tolerance is None:
        return rank_of_spectrum(S, M)
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance was {tolerance}; it must be a finite number of at least 0")
    return int(numpy.count_nonzero(S > tolerance))


def stable_rank(S: numpy.ndarray) -> float:
    """||M||_F^2 / ||M||_2^2 = sum of S_i^2 / S_1^2: the energy, in units of the strongest direction's.

    What rounding adds to zeros is squared here, and so does not show (Rudelson & Vershynin, "Sampling from large
    matrices", 2007, where it says how large a random part of M is enough to approximate M).

    Parameters
    ----------
    S : ndarray of shape (n,)
        Singular values, from large to small.

    Returns
    -------
    float
        0 for the zero matrix.
    """
    S = _scaled(S)
    return float(numpy.sum(S**2) / S[0] ** 2) if S[0] > 0 else 0.0


def effective_rank(S: numpy.ndarray) -> float:
    """exp(H(p)) with p_i = S_i / sum of S: over how many directions the singular values are spread.

    H(p) = -sum of p_i ln p_i is the entropy of p; k equal p have entropy ln k, so effective rank k (Roy & Vetterli,
    "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, definition 1).

    Parameters
    ----------
    S : ndarray of shape (n,)
        Singular values, from large to small.

    Returns
    -------
    float
        0 for the zero matrix.
    """
    S = _scaled(S)
    S = S[S > 0]  # 0 ln 0 = 0
    if not S.size:
        return 0.0
    p = S / numpy.sum(S)
    return math.exp(-numpy.sum(p * numpy.log(p)))


def directions_for(S: numpy.ndarray, share: float = 0.9) -> int:
    """The smallest n for which the first n singular directions carry this share of the energy.

    Parameters
    ----------
    S : ndarray of shape (n,)
        Singular values, from large to small.
    share : float
        Above 0, and at most 1.

    Returns
    -------
    int
        0 for the zero matrix.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share was {share}; it must be a number above 0, up to 1")
    energy = numpy.cumsum(_scaled(S) ** 2)
    return int(numpy.argmax(energy >= share * energy[-1])) + 1 if energy[-1] > 0 else 0


def _scaled(S: numpy.ndarray) -> numpy.ndarray:
    """S times a power of two, which is exact: S[0] ends up in [1 / 2, 1), so that no square overflows."""
    S = numpy.asarray(S, dtype=numpy.float64)
    ordered = S.ndim == 1 and S.size and numpy.isfinite(S).all() and S[-1] >= 0 and (numpy.diff(S) <= 0).all()
    if not ordered:
        raise ValueError(f"S was {S}; it must hold singular values, from large to small: see singular_values")
    return numpy.ldexp(S, -numpy.frexp(S[0])[1])


class RankMeasures(NamedTuple):
    """How many directions a matrix has, in four senses, and how large it is."""

    rank: int
    stable_rank: float
    effective_rank: float
    directions: int  # that carry the share of the energy
    norm: float  # ||M||_F


def rank_measures(deltas: Mapping[str, Delta], share: float = 0.9) -> dict[str, RankMeasures]:
    """The ranks of every delta_W of a model.

    Parameters
    ----------
    deltas : dict of str to ndarray of shape (O, I), or to Factors
        From `weight_changes`, `delta_weights` or, cheapest by far for LoRA, `adapter_factors`.
    share : float
        The share of the energy, for `directions`.

    Returns
    -------
    dict of str to RankMeasures
    """
    measures = {}
    for path, delta_W in deltas.items():
        S = singular_values(delta_W, path)
        measures[path] = measures_of_spectrum(S, rank_of_spectrum(S, delta_W), share)
    return measures


def measures_of_spectrum(S: numpy.ndarray, rank: int, share: float = 0.9) -> RankMeasures:
    """RankMeasures of a matrix whose singular values are known, from large to small, and its rank."""
    norm = float(numpy.linalg.norm(S))
    return RankMeasures(rank, stable_rank(S), effective_rank(S), directions_for(S, share), norm)
