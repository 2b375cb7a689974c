"""delta_W next to the W that it is added to: its relative size, amplification, and intruder dimensions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy
from tqdm import tqdm

from minilora.analysis import (
    Amplification,
    Factors,
    amplification_table,
    intruders_among,
    random_cosine,
    randomly_turned,
    singular_values,
    svd_of,
    truncated_svd,
)
from minilora.analysis.changes import Delta, as_array, as_matrix

LEADING = 10  # directions of W + delta_W that are looked at, as in the paper's figure 4
SMALL = 1024  # up to this many rows or columns, the whole decomposition takes no longer than the leading part
EPSILON = 0.5  # below this cosine with all of W's directions, one is an intruder


class Against(NamedTuple):
    """One delta_W and its W."""

    relative: float  # ||delta_W|| / ||W||
    amplification: Amplification  # table 7
    random_factor: float  # the amplification factor that random directions would have
    cosines: numpy.ndarray  # (k,)  the largest cosine of each leading direction of W + delta_W with W's
    random_cosines: numpy.ndarray  # (k,)  of W and a delta_W with the same singular values in random directions
    chance: float  # the largest cosine of a direction drawn at random

    @property
    def intruders(self) -> int:
        """How many of the k leading directions are intruders."""
        return int((self.cosines < EPSILON).sum())

    @property
    def random_intruders(self) -> int:
        """How many would be if delta_W's directions were random."""
        return int((self.random_cosines < EPSILON).sum())


def against_weights(
    weights: Mapping[str, Any],
    changes: Mapping[str, Delta],
    ranks: Mapping[str, int],
    *,
    rng: numpy.random.Generator,
    progress: bool = False,
) -> dict[str, Against]:
    """Compare each delta_W with its W; one that is zero has nothing to compare.

    Parameters
    ----------
    weights : dict of str to ndarray of shape (O, I)
    changes : dict of str to Factors, or to ndarray of shape (O, I)
        From `adapter_changes`.
    ranks : dict of str to int
        r of each: how many of delta_W's directions `amplification_table` looks at.
    rng : numpy.random.Generator
        Draws what is random.
    progress : bool
        Whether a bar is shown.

    Returns
    -------
    dict of str to Against
    """
    chances: dict[tuple[int, int], float] = {}
    found = {}
    for name, delta_W in tqdm(changes.items(), "weights", unit="matrix", disable=not progress, delay=2, leave=False):
        if not singular_values(delta_W, name)[0] > 0:
            continue
        W = as_matrix(name, weights[name])
        r = None if isinstance(delta_W, Factors) else min(ranks[name], min(W.shape))
        U, S, _ = svd_of(W, name)
        table = amplification_table(W, delta_W, r, rng=rng, S=S)
        O, n = len(W), min(W.shape)
        if (O, n) not in chances:
            chances[O, n] = random_cosine(O, n, rng=rng)
        found[name] = Against(
            relative=table.norm_delta / table.norm_W if table.norm_W > 0 else float("inf"),
            amplification=table,
            random_factor=table.norm_delta / table.random_expected if table.random_expected > 0 else float("inf"),
            cosines=_cosines(U, W, delta_W, rng),
            random_cosines=_cosines(U, W, randomly_turned(delta_W, rng=rng), rng),
            chance=chances[O, n],
        )
    return found


def _cosines(U: numpy.ndarray, W: numpy.ndarray, delta_W: Delta, rng: numpy.random.Generator) -> numpy.ndarray:
    """The largest cosine of each leading direction of W + delta_W with W's, whose left-singular vectors are U."""
    k = min(LEADING, *W.shape)
    tuned = W + as_array(delta_W)
    leading = svd_of(tuned).leading(k) if min(W.shape) <= SMALL else truncated_svd(tuned, k, rng=rng)
    return intruders_among(leading.U, U, epsilon=EPSILON).cosines
