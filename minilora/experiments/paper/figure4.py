"""Figure 4: the directions that two adapters of rank 64, of two random seeds, have in common."""

from dataclasses import dataclass, replace
from itertools import combinations
from statistics import mean

import numpy

from minilora.analysis import simulated_control, subspace_similarity, z_of_whole, z_scores
from minilora.experiments.claims import Claim, paper
from minilora.experiments.comparison import mean_and_spread, plus_minus
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import HERE, QUICK
from minilora.experiments.paper.trained_adapters import (
    QUICK_RATES,
    WHAT_Z_IS,
    SubspaceConfig,
    as_grid,
    as_text,
    middle_layer,
    symbol,
    trained_adapters,
)
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, of_values, paired, per_seed

RANDOM = "random Gaussian"


@dataclass(frozen=True)
class Config(SubspaceConfig):
    """One rank, and at least three seeds: three pairs."""

    ranks: tuple[int, ...] = (64,)

    def __post_init__(self):
        if len(self.ranks) != 1:
            raise ValueError(f"ranks was {self.ranks}; it must be one rank")
        if len(self.training.seeds) < 3:
            raise ValueError(f"seeds was {self.training.seeds}; it must be at least 3 different numbers, for 3 pairs")


def on(base):
    """The Config on another base, with at least three seeds."""
    seeds = base.training.seeds if len(base.training.seeds) > 2 else (0, 1, 2)
    return Config().on(replace(base, training=replace(base.training, seeds=seeds)))


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`. Every two seeds form a pair."""
    (rank,) = config.ranks
    adapters = trained_adapters(config, sweep)[rank]
    pairs = list(combinations(adapters, 2))
    phi = {path: numpy.array([subspace_similarity(a[path].A, b[path].A) for a, b in pairs]) for path in adapters[0]}
    shown = [middle_layer(phi, projection) for projection in ("q_proj", "v_proj")]
    I, first = adapters[0][shown[0]].A.shape[1], max(1, rank // 8)
    phi[RANDOM] = simulated_control(rank, rank, I, rng=numpy.random.default_rng(0), samples=len(pairs))
    return {
        "rank": rank,
        "I": I,
        "pairs": len(pairs),
        "first": first,
        "common": {name: mean_and_spread([common_directions(grid, I, first) for grid in phi[name]]) for name in phi},
        "grids": {name: as_text(phi[name].mean(axis=0)) for name in [*shown, RANDOM]},
    }


def common_directions(phi, I, i):
    """How many of their first i directions two subspaces of R^I have in common beyond chance: i phi(i, i) - i^2 / I.

    i phi(i, i) is the sum of the squared cosines between the first i directions of the two. It is i where they span the
    same space, and i^2 / I on average for random ones, see `random_control`. At an i that was fixed beforehand, chance
    gives 0 on average; the largest over all i would be above 0 for random ones, too.

    Parameters
    ----------
    phi : ndarray of shape (r, r)
    I, i : int

    Returns
    -------
    float
    """
    return float(i * phi[i - 1, i - 1] - i**2 / I)


def table(results):
    lines = [("", "common directions beyond chance")]
    lines += [(name, plus_minus(row, 2)) for name, row in results["common"].items()]
    i = str(results["first"]) if "first" in results else "the most over i"  # as it was before
    rank, I = results["rank"], results["I"]
    whole = [("", f"phi({rank}, {rank})", "z")]
    for name, grid in results["grids"].items():
        phi = as_grid(grid)
        whole.append((name, f"{phi[-1, -1]:.3f}", f"{z_scores(phi, I)[-1, -1]:.1f}"))
    return [
        *aligned(lines),
        "",
        *aligned(whole),
        "",
        WHAT_Z_IS,
        f"Of A, r = {rank}, in R^{I}: i phi(i, i) - i^2 / I, i: {i}; of "
        f"{results['pairs']} pairs of seeds (or of random matrices).",
        "The paper has pictures, without a number.",
    ]


def projections(results):
    """By projection, the common directions beyond chance, a value a seed: the mean over the blocks."""
    found = {}
    for projection in ("q_proj", "v_proj"):
        rows = [row["values"] for path, row in results["common"].items() if path.endswith(projection)]
        found[projection] = per_seed([mean(values) for values in zip(*rows, strict=True)])
    return found


def beyond_chance(results):
    if "first" not in results:  # as they were before: the most over i, which chance drives above 0
        return None
    return [of_values(f"{projection}: beyond chance", values) for projection, values in projections(results).items()]


def queries_above_values(results):
    if "first" not in results:
        return None
    found = projections(results)
    return [paired("W_q's above W_v's", found["q_proj"], found["v_proj"])]


CLAIMS = (
    Claim(
        "figure4.common",
        "Two seeds find common directions, where random matrices have none",
        paper("section 7.2", "two random Gaussian matrices, which do not share any common singular value directions"),
        better("directions"),
        beyond_chance,
        "A begins as random numbers, different ones for each seed, and training has not turned enough of its rows.",
        "Pairs that share a seed are not independent: the jackknife over the seeds.",
    ),
    Claim(
        "figure4.queries",
        "W_q has more of them than W_v",
        paper("section 7.2", "dW_q appears to have a higher 'intrinsic rank' than dW_v"),
        better("directions"),
        queries_above_values,
        "The paper's model knows its language, and its queries are what a task changes; a decoder that has to learn "
        "what to write as well changes W_v, which carries it.",
    ),
)


def plot(results):
    from minilora import plots

    panels = {RANDOM if name == RANDOM else symbol(name): as_grid(lines) for name, lines in results["grids"].items()}
    names = {"first": "one seed's $A$", "second": "another's", "z": z_of_whole(panels, results["I"])}
    return plots.similarity_grid(panels, columns=3, **names)


EXPERIMENT = Experiment(
    name="figure4",
    title="Directions that two random seeds have in common",
    about="The paper compares the right-singular vectors of A of two runs of rank 64 that differ in the seed, and of "
    "two random Gaussian matrices. Here every two seeds of table 18's adapters of the highest rank, for which {base} "
    "was adapted to mini-E2E, are compared, and equally many random matrices.",
    config=Config(),
    quick=Config(replace(QUICK, seeds=(0, 1, 2)), rates=QUICK_RATES),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
    on=on,
)
