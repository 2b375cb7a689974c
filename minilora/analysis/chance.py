"""What random matrices would give, to hold an adapter against; of phi, see `random_subspaces.py`.

random_product_norm(norm_B, norm_A, r)   # ||B A||_F, if B and A knew nothing of each other
random_spectrum(O, I, r, rng=rng)        # singular values of B A for Gaussian B and A
random_cosine(O, n, rng=rng)             # the largest cosine of one random direction with n of W's
randomly_turned(delta_W, rng=rng)        # another delta_W with the same singular values
"""

import math

import numpy

from minilora.analysis.amplification import random_directions
from minilora.analysis.changes import Delta, Factors
from minilora.analysis.svd import svd_of


def random_product_norm(norm_B: float, norm_A: float, r: int) -> float:
    """The root mean square of ||B A||_F for factors of these norms whose r inner directions are unrelated.

    If A is turned at random in its r dimensions, E A A^T is the same in all of them, and has trace ||A||_F^2:

        E ||B A||_F^2 = E tr(B^T B A A^T) = tr(B^T B) ||A||_F^2 / r = ||B||_F^2 ||A||_F^2 / r.

    The most there can be is ||B||_F ||A||_F, for two factors of rank one that meet in one direction: sqrt(r) times as
    much.

    Returns
    -------
    float
    """
    if r < 1:
        raise ValueError(f"r was {r}; it must be an integer of at least 1")
    return norm_B * norm_A / math.sqrt(r)


def random_spectrum(O: int, I: int, r: int, *, rng: numpy.random.Generator) -> numpy.ndarray:
    """The singular values of B A for Gaussian B (O, r) and A (r, I), as fractions of the first.

    With B = Q_B R_B and A^T = Q_A R_A they are those of R_B R_A^T (see `factored_svd`), and R can be drawn without B: a
    Householder step turns the first column of a Gaussian matrix of n rows into (its length, 0, ..., 0), which is
    chi-distributed with n degrees of freedom, and leaves the other columns, which know nothing of it, Gaussian. So R
    has chi(n), chi(n - 1), ... on its diagonal, standard normal entries above it, and zeros below (Bartlett, 1933).
    That takes r^2 numbers instead of (O + I) r.

    Parameters
    ----------
    O, I, r : int
    rng : numpy.random.Generator

    Returns
    -------
    S : ndarray of shape (min(O, I, r),)
        From large to small; the first is 1.
    """
    if min(O, I, r) < 1:
        raise ValueError(f"O, I and r were {O}, {I} and {r}; each must be an integer of at least 1")
    R_B, R_A = _gaussian_R(O, r, rng), _gaussian_R(I, r, rng)  # (min(O, r), r), (min(I, r), r)
    S = numpy.linalg.svd(R_B @ R_A.T, compute_uv=False)
    return S / S[0]


def _gaussian_R(n: int, r: int, rng: numpy.random.Generator) -> numpy.ndarray:
    """R of the QR decomposition of a Gaussian (n, r) matrix."""
    rows = min(n, r)
    R = numpy.triu(rng.standard_normal((rows, r)), k=1)
    R[numpy.arange(rows), numpy.arange(rows)] = numpy.sqrt(rng.chisquare(n - numpy.arange(rows)))
    return R


def random_cosine(O: int, n: int, *, rng: numpy.random.Generator, samples: int = 200) -> float:
    """The largest |cosine| of a random direction of R^O with n orthonormal ones, on average.

    A random direction is g / ||g|| for a Gaussian g, and looks the same from every orthonormal basis: its cosines with
    n basis vectors are distributed as the first n coordinates. For n = O the largest is about (2 ln O / O)^(1/2).

    Parameters
    ----------
    O, n : int
        n from 1 to O.
    rng : numpy.random.Generator
    samples : int
        How many directions are drawn.

    Returns
    -------
    float, from 0 to 1
    """
    if not 1 <= n <= O:
        raise ValueError(f"n was {n}; it must be an integer from 1 to O = {O}")
    largest = []
    for _ in range(samples):
        g = rng.standard_normal(O)
        largest.append(numpy.abs(g[:n]).max() / numpy.linalg.norm(g))
    return float(numpy.mean(largest))


def randomly_turned(delta_W: Delta, *, rng: numpy.random.Generator) -> Factors:
    """A matrix with delta_W's singular values, and with directions of the input and of the output drawn at random.

    Parameters
    ----------
    delta_W : ndarray of shape (O, I), or Factors
    rng : numpy.random.Generator

    Returns
    -------
    Factors
        B (O, n) with orthogonal columns of the lengths of the singular values, A (n, I) with orthonormal rows, scale 1.
    """
    U, S, Vt = svd_of(delta_W, "delta_W")
    O, n, I = len(U), len(S), Vt.shape[1]
    return Factors(random_directions(n, O, rng).T * S, random_directions(n, I, rng), 1.0)
