"""What phi is for two random subspaces of R^I: its mean, its variance, and a z-score for a phi that was measured.

    control = random_control(r1, r2, I)             # E phi
    z = z_scores(phi, I)                            # (phi - E phi) / its standard deviation

phi(i, j) min(i, j) = X is tr(P Q), where P and Q are the orthogonal projections onto the two subspaces, of traces i and
j: X = ||U^T V||_F^2 = tr(U U^T V V^T). Let Q be turned at random, uniformly. The mean of Q is the same in all
directions and has trace j, so it is (j / I) 1, and

    E X = tr(P E Q) = i j / I.

For the variance, leave out what is the same in all directions: P0 = P - (i / I) 1 and Q0 = Q - (j / I) 1 are symmetric
of trace 0, and X - E X = tr(P0 Q0). The rotations of R^I leave no part of the space of such matrices in its place (it
is irreducible). So by Schur's lemma Q0, turned at random, has the same variance in each of its dimensions, of which
there are I (I + 1) / 2 - 1 = (I - 1) (I + 2) / 2:

    Var X = E tr(P0 Q0)^2 = ||P0||_F^2 ||Q0||_F^2 / ((I - 1) (I + 2) / 2)

With ||P0||_F^2 = tr P - i^2 / I = i (I - i) / I, and likewise for Q0,

    Var phi(i, j) = 2 i j (I - i) (I - j) / (I^2 (I - 1) (I + 2) min(i, j)^2).

For i = j = 1 this is the variance of the square of one coordinate of a random unit vector, 2 (I - 1) / (I^2 (I + 2)).
The paper draws one pair of Gaussian matrices instead (the right-most panel of its figure 4).
"""

from collections.abc import Mapping

import numpy

from minilora.analysis.subspace import subspace_similarity
from minilora.arrays.backend import Array, to_numpy


def random_control(r1: int, r2: int, I: int) -> numpy.ndarray:
    """What `subspace_similarity` gives on average for two independent random subspaces of R^I.

    A random unit vector v has E (u . v)^2 = 1 / I for every unit vector u, because the squares of its I coordinates sum
    to one. The numerator of phi(i, j) is a sum of i j such squares, so that

        E phi(i, j) = (i j / I) / min(i, j) = max(i, j) / I.

    Parameters
    ----------
    r1, r2, I : int

    Returns
    -------
    expected_phi : ndarray of shape (r1, r2)
    """
    i, j = _dimensions(r1, r2, I)
    return numpy.maximum(i, j) / I


def random_variance(r1: int, r2: int, I: int) -> numpy.ndarray:
    """The variance of phi(i, j) for two independent random subspaces of R^I; derived above.

    It is zero where one of them is all of R^I: phi is then 1, whatever the other one is.

    Parameters
    ----------
    r1, r2, I : int

    Returns
    -------
    variance : ndarray of shape (r1, r2)
    """
    return _variance(*_dimensions(r1, r2, I), I)


def z_scores(phi: Array, I: int) -> numpy.ndarray:
    """How many standard deviations each phi(i, j) of a grid lies above its mean for two random subspaces of R^I.

    z counts deviations and is no probability: the distribution of phi is skewed for few directions. phi(1, 1) is the
    square of a nearly normal number, and exceeds z = 4 once in a hundred draws.

    Parameters
    ----------
    phi : ndarray of shape (r1, r2)
        From `subspace_similarity` or `similarity_of_bases`.
    I : int

    Returns
    -------
    z : ndarray of shape (r1, r2)
        NaN where i or j is I: nothing is left to chance there.
    """
    phi = to_numpy(phi)
    if phi.ndim != 2:
        raise ValueError(f"phi had shape {phi.shape}; it must be a grid, (r1, r2)")
    r1, r2 = phi.shape
    return _z(phi, *_dimensions(r1, r2, I), I)


def z_of_whole(grids: Mapping[str, Array], I: int) -> dict[str, float]:
    """The z-score of phi(r1, r2), on the whole of both subspaces, for several grids by their names."""
    return {name: float(z_scores(phi, I)[-1, -1]) for name, phi in grids.items()}


def z_score(phi: float, i: int, j: int, I: int) -> float:
    """`z_scores` for one number: phi(i, j) between subspaces of i and j directions.

    Parameters
    ----------
    phi : float
    i, j, I : int

    Returns
    -------
    float
    """
    _dimensions(i, j, I)
    return float(_z(numpy.asarray(phi), numpy.asarray(i), numpy.asarray(j), I))


def _z(phi: numpy.ndarray, i: numpy.ndarray, j: numpy.ndarray, I: int) -> numpy.ndarray:
    deviation = numpy.sqrt(_variance(i, j, I))
    return (phi - numpy.maximum(i, j) / I) / numpy.where(deviation > 0, deviation, numpy.nan)


def _variance(i: numpy.ndarray, j: numpy.ndarray, I: int) -> numpy.ndarray:
    of_sum = 2.0 * i * j * (I - i) * (I - j) / (float(I) ** 2 * max(I - 1, 1) * (I + 2))  # I = 1: 0 / 1
    return of_sum / numpy.minimum(i, j) ** 2


def simulated_control(r1: int, r2: int, I: int, *, rng: numpy.random.Generator, samples: int = 1) -> numpy.ndarray:
    """phi of two independent Gaussian matrices, as in the right-most panel of the paper's figure 4.

    Parameters
    ----------
    r1, r2, I : int
    rng : numpy.random.Generator
    samples : int
        How many pairs. Their mean tends to `random_control`.

    Returns
    -------
    phi : ndarray of shape (samples, r1, r2)
    """
    expected = random_control(r1, r2, I)
    phi = numpy.empty((samples, *expected.shape))
    for s in range(samples):
        phi[s] = subspace_similarity(rng.standard_normal((r1, I)), rng.standard_normal((r2, I)))
    return phi


def _dimensions(r1: int, r2: int, I: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """i from 1 to r1 in a column, and j from 1 to r2 in a row."""
    if not 1 <= min(r1, r2) <= max(r1, r2) <= I:
        raise ValueError(f"r1 and r2 were {r1} and {r2}; each must be from 1 to I = {I}")
    i, j = numpy.ogrid[1 : r1 + 1, 1 : r2 + 1]  # (r1, 1), (1, r2)
    return i, j
