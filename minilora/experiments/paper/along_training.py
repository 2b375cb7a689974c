"""How delta W develops: its directions, their amplification, its stable rank and its size, while LoRA is trained."""

from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import mean

import numpy

from minilora.analysis import (
    projection_norm,
    random_control,
    random_projection_norm,
    random_variance,
    shape_of,
    similarity_of_bases,
    stable_rank,
    svd_of,
)
from minilora.experiments.claims import Claim, own
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import QUICK, Training, at
from minilora.experiments.paper.snapshots import Snapshots, keep_along_training, read_snapshots
from minilora.experiments.paper.trained_adapters import base_weight
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, of_values, paired, per_seed
from minilora.models import load_bundled

PROJECTIONS = {"q_proj": "$W_q$", "v_proj": "$W_v$"}


@dataclass(frozen=True)
class Config:
    """One rank, at the best of table 18's learning rates for it; the steps after which the adapter is examined; and at
    least three seeds: three pairs.
    """

    training: Training = field(default_factory=Training)
    rank: int = 8
    lr: float = 3e-2
    steps: tuple[int, ...] = (1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 192, 256)

    def __post_init__(self):
        if not self.steps or not 1 <= min(self.steps) <= max(self.steps) < self.training.steps:
            raise ValueError(
                f"steps was {self.steps}; each must be from 1 to {self.training.steps - 1}, before the end"
            )
        if len(self.training.seeds) < 3:
            raise ValueError(f"seeds was {self.training.seeds}; it must be at least 3 different numbers, for 3 pairs")


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    settings = [
        Snapshots(at(config.training.lora(config.rank), config.lr, seed), config.steps)
        for seed in config.training.seeds
    ]
    sweep(keep_along_training, settings, model="decoder")
    seeds = [read_snapshots(sweep.file_of(keep_along_training, s)) for s in settings]  # each: step -> layer -> Factors
    steps, layers = (*config.steps, config.training.steps), list(seeds[0][config.steps[0]])
    base = load_bundled("decoder")
    measured = {}
    for kind in PROJECTIONS:
        paths = [path for path in layers if path.endswith(kind)]
        weights = {path: base_weight(base, path) for path in paths}
        measured[kind] = {
            str(step): over_layers(weights, [seed[step] for seed in seeds], [seed[steps[-1]] for seed in seeds])
            for step in steps
        }
    control = random_control(config.rank, config.rank, shape_of(seeds[0][steps[0]][layers[0]])[1])
    return {
        "rank": config.rank,
        "chance": {"first": float(control[0, 0]), "all": float(control[-1, -1])},
        "measured": measured,
    }


def over_layers(weights, seeds, ends):
    """What is measured at one step: means over the layers, for every seed or for every pair of seeds.

    Parameters
    ----------
    weights : dict of str to ndarray of shape (O, I)
        W, by path of the layer.
    seeds, ends : list of dict of str to Factors
        For each seed, the adapter at this step and at the end.

    Returns
    -------
    dict of str to list of float
    """
    of_seeds = [[of_adapter(W, now[path], end[path]) for path, W in weights.items()] for now, end in zip(seeds, ends)]
    of_pairs = [[of_two(a[path], b[path]) for path in weights] for a, b in combinations(seeds, 2)]
    return {
        name: [float(numpy.mean([of_layer[name] for of_layer in layers])) for layers in of_all]
        for of_all in (of_seeds, of_pairs)
        for name in of_all[0][0]
    }


def of_adapter(W, now, end):
    """What is measured of one layer of one seed, from the factors alone: no matrix of W's size is decomposed."""
    U, S, Vt = svd_of(now)
    phi = similarity_of_bases(Vt, svd_of(end).Vt)
    size, norm_W, there = numpy.linalg.norm(S), numpy.linalg.norm(W), projection_norm(W, U, Vt)
    return {
        "end_first": phi[0, 0],
        "end_all": phi[-1, -1],
        "amplification": size / there,
        "beside_chance": there / random_projection_norm(*W.shape, len(S), norm_W),
        "stable_rank": stable_rank(S),
        "size": size / norm_W,
        "norm_A": numpy.linalg.norm(now.A),
        "norm_B": numpy.linalg.norm(now.B),
    }


def of_two(one, other):
    """phi between delta W of two seeds."""
    phi = similarity_of_bases(svd_of(one).Vt, svd_of(other).Vt)
    return {"seeds_first": phi[0, 0], "seeds_all": phi[-1, -1]}


COLUMNS = {  # what `over_layers` measures: the head of its column
    "end_first": "end: (1, 1)",
    "end_all": "(r, r)",
    "seeds_first": "seeds: (1, 1)",
    "seeds_all": "(r, r)",
    "amplification": "amplification",
    "beside_chance": "W, x chance",
    "stable_rank": "stable rank",
    "size": "size",
    "norm_A": "||A||",
    "norm_B": "||B||",
}


def table(results):
    lines = []
    for kind, by_step in results["measured"].items():
        rows = [(f"{kind}, step", *COLUMNS.values())]
        rows += [(step, *(f"{mean(row[name]):.3f}" for name in COLUMNS)) for step, row in by_step.items()]
        lines += [*aligned(rows), ""]
    r, chance = results["rank"], results["chance"]
    deviation = random_variance(r, r, round(1 / chance["first"])) ** 0.5
    first, whole = deviation[0, 0], deviation[-1, -1]
    return [
        *lines,
        f"r = {r}; means over the blocks and the seeds, or over every two of these; the picture has their spread.",
        "end: phi(i, j) between the directions of delta W now and at the end. seeds: those of two seeds; chance",
        f"gives phi(1, 1) = {chance['first']:.3f} ± {first:.3f} and phi(r, r) = {chance['all']:.3f} ± {whole:.3f},",
        "from which z = (phi - chance) / deviation follows. Size: ||delta W|| / ||W||.",
        "Amplification: ||delta W|| / ||U^T W V^T||. W, x chance: this ||U^T W V^T|| over that of random directions.",
        "The paper has no such table; it looks at adapters after training.",
    ]


def of_kind(results, kind, name, step=-1):
    """A measure of a projection at one of the steps, by its index: the values of the seeds, or of the pairs."""
    values = list(results["measured"][kind].values())[step][name]
    return per_seed(values) if name.startswith("seeds") else values


def both(compare):
    """`Claim.compare` for W_q and W_v: ``compare(results, kind) -> list of Difference``."""
    return lambda results: [difference for kind in PROJECTIONS for difference in compare(results, kind)]


def rises(name, chance):
    """`Claim.compare`: by how much a measure at the end is above that of the first step, and above chance."""

    def compare(results, kind):
        first, end = of_kind(results, kind, name, 0), of_kind(results, kind, name)
        return [
            paired(f"{kind}: at the end above the first step", end, first),
            of_values(f"{kind}: at the end above chance", [value - chance(results) for value in end]),
        ]

    return both(compare)


CLAIMS = (
    Claim(
        "along_training.seeds-meet",
        "Two seeds begin with nothing in common, and training brings their directions together, beyond chance",
        own("figure 4"),
        better(),
        rises("seeds_all", lambda results: results["chance"]["all"]),
        "A begins as other random numbers for each seed, and has not turned enough.",
        "phi(r, r) of two seeds; pairs that share a seed are not independent: the jackknife over the seeds.",
    ),
    Claim(
        "along_training.leaves-the-start",
        "A turns away from its random start: less than half of its subspace is the same at the end",
        own(),
        better(),
        both(
            lambda results, kind: [
                of_values(
                    f"{kind}: a half above phi(r, r) of the first step and the end",
                    [0.5 - value for value in of_kind(results, kind, "end_all", 0)],
                )
            ]
        ),
        "Gradients add to A's random numbers, and nothing takes these away.",
    ),
    Claim(
        "along_training.correlated",
        "W has more in delta W's directions than in random ones, and training makes it more",
        own("table 7"),
        better("times chance"),
        rises("beside_chance", lambda results: 1.0),
        "The directions that the task needs are not those in which W has most.",
    ),
)


def plot(results):
    from minilora import plots

    def lines(name):
        return {
            symbol: [(int(step), row[name]) for step, row in results["measured"][kind].items()]
            for kind, symbol in PROJECTIONS.items()
        }

    r, chance = results["rank"], results["chance"]
    panels = {
        rf"$\varphi$ of now and the end, all {r}": lines("end_all"),
        r"$\varphi$ of now and the end, first": lines("end_first"),
        rf"$\varphi$ of two seeds, all {r}": lines("seeds_all"),
        r"$\varphi$ of two seeds, first": lines("seeds_first"),
        "amplification factor": lines("amplification"),
        r"$\|U^\mathrm{T} W V\|_F$, times chance": lines("beside_chance"),
        r"stable rank of $\Delta W$": lines("stable_rank"),
        r"$\|\Delta W\| \,/\, \|W\|$": lines("size"),
    }
    titles = list(panels)
    (_, of_seeds), *_ = panels[titles[0]][PROJECTIONS["q_proj"]]
    levels = {title: ("chance", chance["all"]) for title in (titles[0], titles[2])}
    levels |= {title: ("chance", chance["first"]) for title in (titles[1], titles[3])}
    return plots.seed_curves(
        panels,
        xlabel="training step",
        xscale="log",
        levels=levels,
        note=f"all {r}: the whole subspaces; first: the first directions alone. Of two seeds the band spans the pairs.",
        n_seeds=len(of_seeds),
    )


EXPERIMENT = Experiment(
    name="along_training",
    title="Directions, amplification and rank of delta W while it is trained",
    about="Not in the paper, which looks at adapters after training: A and B of LoRA on mini-E2E are kept on the way, "
    "and the directions of delta W are compared with those of the end and of other seeds, its size with W's.",
    config=Config(),
    quick=Config(replace(QUICK, steps=5, seeds=(0, 1, 2)), steps=(1, 2)),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
)
