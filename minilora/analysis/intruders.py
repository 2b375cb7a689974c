"""Intruder dimensions: leading directions of an adapted weight that the original weight did not have.

Shuttleworth, Andreas, Torralba & Sharma, "LoRA vs Full Fine-tuning: An Illusion of Equivalence" (arXiv 2410.21228),
definition 3.1 (1 in its first version): a singular vector y_j of the fine-tuned W is an intruder dimension if max over
i of cos(y_j, x_i) < epsilon, where the x_i are the singular vectors of the pretrained W. In algorithm 1 the vectors are
the left-singular ones, and j runs over the k leading ones; as in the authors' released code, the cosine is taken
without its sign, which singular vectors do not have.

A fine-tuned vector that is a pretrained one has cosine 1; one that is a mixture of n of them in equal parts has
n^(-1/2), and one at random in R^O about (2 ln O / O)^(1/2): 0.12 for O = 1000. All x_i count, also those of the
smallest singular values, so that W needs its whole decomposition here.
"""

from typing import NamedTuple

import numpy

from minilora.analysis.svd import svd_of
from minilora.arrays.backend import Array


class Intruders(NamedTuple):
    """The leading directions of a fine-tuned weight, compared with all of the pretrained one."""

    cosines: numpy.ndarray  # (k,) max over i of |cos(y_j, x_i)|
    epsilon: float

    @property
    def indices(self) -> numpy.ndarray:
        """The j that are intruders, counting from 0."""
        return numpy.flatnonzero(self.cosines < self.epsilon)

    @property
    def count(self) -> int:  # type: ignore[override]  # a tuple has a method of this name
        """How many of the k are intruders."""
        return len(self.indices)


def intruder_dimensions(W: Array, W_tuned: Array, *, k: int = 10, epsilon: float = 0.5) -> Intruders:
    """Which of the k leading directions of W_tuned are new.

    Parameters
    ----------
    W, W_tuned : ndarray of shape (O, I)
        Before and after; for LoRA, W and W + delta_W.
    k : int
        From 1 to min(O, I).
    epsilon : float
        From 0 to 1: a direction is new if its cosine is below this. The count depends on it: the paper's figure 4 draws
        the count over epsilon, with k = 10; `cosines` has all that is needed for that.

    Returns
    -------
    Intruders
    """
    if numpy.shape(W) != numpy.shape(W_tuned):
        raise ValueError(f"W had shape {numpy.shape(W)} and W_tuned {numpy.shape(W_tuned)}; they must be the same")
    if not 1 <= k <= min(numpy.shape(W)):
        raise ValueError(f"k was {k}; it must be an integer from 1 to {min(numpy.shape(W))}")
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon was {epsilon}; it must be a number from 0 to 1")
    return intruders_among(svd_of(W_tuned, "W_tuned").U[:, :k], svd_of(W, "W").U, epsilon=epsilon)


def intruders_among(U_tuned: numpy.ndarray, U: numpy.ndarray, *, epsilon: float = 0.5) -> Intruders:
    """Which of some directions of an adapted weight are new, for weights that are decomposed already.

    Parameters
    ----------
    U_tuned : ndarray of shape (O, k)
        The k leading left-singular vectors of W_tuned.
    U : ndarray of shape (O, min(O, I))
        All of W's.
    epsilon : float

    Returns
    -------
    Intruders
    """
    return Intruders(numpy.abs(U_tuned.T @ U).max(axis=1), epsilon)  # (k, O) @ (O, n) -> (k, n) -> (k,)
