"""The directions of one adapter next to those of another: phi, its random control, and how far apart the two are."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy
from tqdm import tqdm

from minilora.analysis import Factors, random_control, random_variance, similarity_of_bases, z_score
from minilora.experiments.report.own import leading_directions

SHOWN = 16  # leading directions in a grid


class Overlap(NamedTuple):
    """phi(r1, r2) of two delta_W on one side, and the grid of its leading directions."""

    phi: float
    random: float  # its mean for random subspaces
    deviation: float  # its standard deviation for random subspaces
    z: float  # how many standard deviations phi is above chance; NaN where chance does not vary
    grid: numpy.ndarray  # phi(i, j) for i, j up to SHOWN
    random_grid: numpy.ndarray


class Pair(NamedTuple):
    """One matrix in two adapters."""

    ranks: tuple[int, int]
    input: Overlap  # right-singular vectors, the side of A
    output: Overlap  # left-singular vectors, the side of B
    cosine: float  # between the two delta_W as long vectors


def compare(
    ours: Mapping[str, Factors], theirs: Mapping[str, Factors], path: str, *, progress: bool = False
) -> dict[str, Pair]:
    """Compare the matrices that two adapters have in common; those that are zero in one have no directions.

    Parameters
    ----------
    ours, theirs : dict of str to Factors
    path : str
        Of the other adapter, for an error.
    progress : bool
        Whether a bar is shown.

    Raises
    ------
    ValueError
        If they have no matrix in common, or one of another shape.
    """
    both = [name for name in ours if name in theirs]
    if not both:
        first, second = next(iter(ours)), next(iter(theirs))
        raise ValueError(
            f"--other was {path}, which changes {second}; it must change a matrix of the adapter's: {first}"
        )
    pairs = {}
    for name in tqdm(both, "phi", unit="matrix", disable=not progress, delay=2, leave=False):
        shapes = [(len(f.B), f.A.shape[1]) for f in (ours[name], theirs[name])]
        if shapes[0] != shapes[1]:
            raise ValueError(f"--other was {path}, in which {name} is {shapes[1]}; it must be {shapes[0]}")
        one, two = leading_directions(ours[name]), leading_directions(theirs[name])
        if len(one.S) and len(two.S):
            inner = numpy.einsum("i,ij,j,ij->", one.S, one.U.T @ two.U, two.S, one.Vt @ two.Vt.T)
            cosine = inner / (numpy.linalg.norm(one.S) * numpy.linalg.norm(two.S))
            input_side, output_side = _overlap(one.Vt, two.Vt), _overlap(one.U.T, two.U.T)
            pairs[name] = Pair((len(one.S), len(two.S)), input_side, output_side, float(cosine))
    return pairs


def _overlap(V1: numpy.ndarray, V2: numpy.ndarray) -> Overlap:
    (r1, n), r2 = V1.shape, len(V2)
    phi, control = similarity_of_bases(V1, V2), random_control(r1, r2, n)
    whole, deviation = float(phi[-1, -1]), math.sqrt(random_variance(r1, r2, n)[-1, -1])
    first = numpy.s_[:SHOWN, :SHOWN]
    return Overlap(whole, float(control[-1, -1]), deviation, z_score(whole, r1, r2, n), phi[first], control[first])
