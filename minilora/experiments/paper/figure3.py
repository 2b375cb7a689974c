"""Figure 3: the directions that an adapter of rank 8 and one of rank 64 have in common."""

import numpy

from minilora.analysis import random_control, similarity_of_bases, subspace_similarity, svd_of, z_of_whole
from minilora.experiments.comparison import mean_and_spread, plus_minus
from minilora.experiments.experiment import Claim, Experiment
from minilora.experiments.paper.mini_e2e import HERE
from minilora.experiments.paper.trained_adapters import (
    WHAT_Z_IS,
    SubspaceConfig,
    as_grid,
    as_text,
    middle_layer,
    symbol,
    trained_adapters,
    with_z,
)
from minilora.experiments.text_table import aligned

FULL = SubspaceConfig(ranks=(8, 64))


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`.

    An adapter of the lower rank is compared with that of the higher one of the next seed: with the same seed, the first
    A of the two would start from the same random numbers, and share them whatever they learn.
    """
    low, high = config.ranks
    adapters = trained_adapters(config, sweep)
    pairs = [(first, adapters[high][(s + 1) % len(adapters[high])]) for s, first in enumerate(adapters[low])]
    layers = {}
    for path in adapters[low][0]:
        of_A = [subspace_similarity(first[path].A, second[path].A) for first, second in pairs]
        of_delta = [similarity_of_bases(svd_of(first[path]).Vt, svd_of(second[path]).Vt) for first, second in pairs]
        layers[path] = {
            "grid_A": as_text(numpy.mean(of_A, axis=0)),
            "grid_delta": as_text(numpy.mean(of_delta, axis=0)),
            "first_A": mean_and_spread([float(phi[0, 0]) for phi in of_A]),
            "first_delta": mean_and_spread([float(phi[0, 0]) for phi in of_delta]),
            "all": mean_and_spread([float(phi[-1, -1]) for phi in of_delta]),
        }
    I = adapters[low][0][path].A.shape[1]
    return {"ranks": [low, high], "I": I, "layers": layers}


def table(results):
    (low, high), I = results["ranks"], results["I"]
    lines = [("", "phi(1, 1) of A", "of delta W", f"phi({low}, {high})")]
    for path, row in results["layers"].items():
        firsts = (with_z(row[name], 1, 1, I) for name in ("first_A", "first_delta"))
        lines.append((path, *firsts, with_z(row["all"], low, high, I)))
    lines.append(("random subspaces", *(f"{phi:.3f}          " for phi in (1 / I, 1 / I, high / I))))
    return [
        *aligned(lines),
        "",
        WHAT_Z_IS,
        f"r = {low} against r = {high} of another seed. The paper: phi(1, 1) of A is above 0.5 in W_q and W_v.",
    ]


def claims(results):
    middle = [middle_layer(results["layers"], projection) for projection in ("q_proj", "v_proj")]
    found = []
    for name, of in (("first_A", "A"), ("first_delta", "delta W")):
        shared = [path for path, row in results["layers"].items() if row[name]["mean"] > 0.5]
        seen = ", ".join(f"{path} {plus_minus(results['layers'][path][name], 2)}" for path in middle)
        found.append(
            Claim(
                f"The top direction is shared, with phi(1, 1) > 0.5, in W_q and W_v of the middle layer; by {of}",
                set(middle) <= set(shared),
                f"{seen}; above 0.5 in {len(shared)} of {len(results['layers'])} matrices",
                "The two ranks differ in the seed too, so in their first A and the order of their examples, and were "
                "trained for a few hundred steps; what random directions would have in common is in the table.",
            )
        )
    return found


def plot(results):
    from minilora import plots

    low, high = results["ranks"]
    panels = {}
    for projection in ("q_proj", "v_proj"):
        path = middle_layer(results["layers"], projection)
        panels[f"{symbol(path)}: of $A$"] = as_grid(results["layers"][path]["grid_A"])
        panels[rf"{symbol(path)}: of $\Delta W$"] = as_grid(results["layers"][path]["grid_delta"])
        panels["random (expected)"] = random_control(low, high, results["I"])  # the last of the first row
    return plots.similarity_grid(
        panels, first=f"$r = {low}$", second=f"$r = {high}$", columns=3, z=z_of_whole(panels, results["I"])
    )


EXPERIMENT = Experiment(
    name="figure3",
    title="Directions that rank 8 and rank 64 have in common",
    about="The paper compares the right-singular vectors of A of two adapters of GPT-3, of ranks 8 and 64. Here they "
    "are of table 18's adapters, for which {base} was adapted to mini-E2E; their seeds differ as well. Those of A "
    "depend on how delta W is split into B and A, so those of delta W are shown next to them.",
    config=FULL,
    quick=FULL.quick(),
    run=run,
    table=table,
    plot=plot,
    claims=claims,
    here=HERE,
    on=FULL.on,
)
