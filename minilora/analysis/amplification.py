"""What delta_W does to the directions that W already has (the paper, section 7.3 and appendix H).

    amplification_factor(W, delta_W)                 # delta_W: an array, or Factors(B, A, scale)
    table = amplification_table(W, delta_W, rng=rng) # the columns of table 7, and their random control
    phi = weight_similarity(W, delta_W, 50, rng=rng) # figure 8

W may be as large as GPT-3's: it is neither copied to another precision nor decomposed as a whole.
"""

import math
from typing import NamedTuple

import numpy

from minilora.analysis.changes import Delta
from minilora.analysis.lanczos import truncated_svd
from minilora.analysis.large import frobenius_norm, host_matrix, times
from minilora.analysis.subspace import similarity_of_bases
from minilora.analysis.svd import SVD, rank_of_spectrum, shape_of, svd_of
from minilora.arrays.backend import Array


def projection_norm(W: Array, U: numpy.ndarray, Vt: numpy.ndarray) -> float:
    """||U^T W V||_F: how much of W lies in the space that U's and V's columns span; at most ||W||_F.

    U^T W V is what W does from the directions V of its input to the directions U of its output. With orthonormal
    columns, U U^T W V V^T is the projection of W onto that space, and has the same Frobenius norm. The paper, section
    7.3, writes U^T W V^T, because its V is our Vt.

    Parameters
    ----------
    W : ndarray of shape (O, I)
    U : ndarray of shape (O, r)
    Vt : ndarray of shape (r, I)

    Returns
    -------
    float
    """
    W = host_matrix("W", W)
    if (len(U), Vt.shape[1]) != W.shape or U.shape[1] != len(Vt):
        raise ValueError(f"W had shape {W.shape}, U {U.shape} and Vt {Vt.shape}; U must be (O, r), and Vt (r, I)")
    return float(numpy.linalg.norm(U.T @ times(W, Vt.T)))  # (r, O) @ (O, r) -> (r, r)


def random_projection_norm(O: int, I: int, r: int, norm_W: float = 1.0) -> float:
    """The root mean square of `projection_norm` for r random directions of the output and r of the input.

    For a uniformly random r-dimensional subspace of R^O, the projection U U^T has mean (r / O) 1: it is the same in all
    directions, and has trace r. Independently, E V V^T = (r / I) 1. So

        E ||U^T W V||_F^2 = E tr(U U^T W V V^T W^T) = (r / O) (r / I) tr(W W^T) = r^2 / (O I) ||W||_F^2,

    whatever W is; its root is r / sqrt(O I) ||W||_F, or (r / d) ||W||_F where W is d x d: 0.02 and 0.32 for the W_q of
    the paper's table 7, with ||W||_F = 61.95, d = 12288 and r = 4 and 64 (the paper drew 0.02 and 0.33).

    Returns
    -------
    float
    """
    if not 1 <= r <= min(O, I):
        raise ValueError(f"r was {r}; it must be an integer from 1 to {min(O, I)}")
    return r / math.sqrt(O * I) * norm_W


def random_directions(r: int, n: int, rng: numpy.random.Generator) -> numpy.ndarray:
    """r orthonormal rows of n, spanning a uniformly random subspace: an orthonormal basis of Gaussian vectors."""
    return numpy.linalg.qr(rng.standard_normal((n, r)))[0].T  # (r, n)


class Amplification(NamedTuple):
    """Table 7 for one W: ||U^T W V^T||_F for r directions U, V of four kinds, and the norms to compare them with."""

    r: int
    delta: float  # of delta_W's leading directions
    weight: float  # of W's own leading directions: the most there can be, the root of the sum of its S_i^2
    random: float  # of random directions, drawn once
    random_expected: float  # their root mean square
    norm_W: float  # ||W||_F
    norm_delta: float  # ||delta_W||_F

    @property
    def factor(self) -> float:
        """||delta_W||_F / ||U^T W V^T||_F for delta_W's directions; infinite if W has nothing there."""
        return self.norm_delta / self.delta if self.delta > 0 else math.inf


def amplification_factor(W: Array, delta_W: Delta, r: int | None = None) -> float:
    """How much larger delta_W is than what W already does in delta_W's r leading directions.

        ||delta_W||_F / ||U^T W V^T||_F,   delta_W = U S V^T   (the paper, section 7.3, with V as r x k)

    Parameters
    ----------
    W : ndarray of shape (O, I)
    delta_W : ndarray of shape (O, I), or Factors
    r : int, optional
        From 1 to the numerical rank of delta_W, which is the default. That is r for LoRA; for full fine-tuning, give a
        small one, because all of delta_W's directions together are all of W's too.

    Returns
    -------
    float
        Infinite if W has nothing in these directions.
    """
    W = host_matrix("W", W)
    norm, (U, _, Vt) = _leading(W, delta_W, r)
    projected = projection_norm(W, U, Vt)
    return norm / projected if projected > 0 else math.inf


def amplification_table(
    W: Array,
    delta_W: Delta,
    r: int | None = None,
    *,
    rng: numpy.random.Generator,
    S: numpy.ndarray | None = None,
) -> Amplification:
    """The columns of the paper's table 7.

    Parameters
    ----------
    W : ndarray of shape (O, I)
    delta_W : ndarray of shape (O, I), or Factors
    r : int, optional
        As for `amplification_factor`.
    rng : numpy.random.Generator
        Draws the random directions, and the start of `truncated_svd`.
    S : ndarray of shape (min(O, I),), optional
        W's singular values, from large to small, if they are known.

    Returns
    -------
    Amplification
    """
    W = host_matrix("W", W)
    norm_delta, (U, S_delta, Vt) = _leading(W, delta_W, r)
    r, (O, I), norm_W = len(S_delta), W.shape, frobenius_norm(W)
    own = truncated_svd(W, r, rng=rng).S if S is None else S[:r]
    return Amplification(
        r=r,
        delta=projection_norm(W, U, Vt),
        weight=float(numpy.linalg.norm(own)),
        random=projection_norm(W, random_directions(r, O, rng).T, random_directions(r, I, rng)),
        random_expected=random_projection_norm(O, I, r, norm_W),
        norm_W=norm_W,
        norm_delta=norm_delta,
    )


def weight_similarity(
    W: Array, delta_W: Delta, n: int, r: int | None = None, *, rng: numpy.random.Generator
) -> numpy.ndarray:
    """phi(i, j) between W's first i directions and delta_W's first j, on the input side (the paper's figure 8).

    Parameters
    ----------
    W : ndarray of shape (O, I)
    delta_W : ndarray of shape (O, I), or Factors
    n : int
        How many of W's directions.
    r : int, optional
        How many of delta_W's; as for `amplification_factor`.
    rng : numpy.random.Generator
        Draws the start of `truncated_svd`.

    Returns
    -------
    phi : ndarray of shape (n, r)
        ``random_control(n, r, I)`` is what a random delta_W would give.
    """
    W = host_matrix("W", W)
    _, (_, _, Vt) = _leading(W, delta_W, r)
    return similarity_of_bases(truncated_svd(W, n, rng=rng).Vt, Vt)


def _leading(W: Array, delta_W: Delta, r: int | None) -> tuple[float, SVD]:
    """||delta_W||_F, and the r leading directions of delta_W, if it fits W."""
    if shape_of(delta_W) != W.shape:
        raise ValueError(f"W had shape {W.shape} and delta_W {shape_of(delta_W)}; they must be the same")
    svd = svd_of(delta_W, "delta_W")
    rank = rank_of_spectrum(svd.S, delta_W)
    if rank == 0:
        raise ValueError("delta_W was zero, as it is while B is; it must have at least one direction")
    r = rank if r is None else r
    if not 1 <= r <= rank:
        raise ValueError(f"r was {r}; it must be an integer from 1 to {rank}, the rank of delta_W")
    return float(numpy.linalg.norm(svd.S)), svd.leading(r)
