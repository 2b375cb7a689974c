"""Figure 3: the directions that an adapter of rank 8 and one of rank 64 have in common."""

import numpy

from minilora.analysis import random_control, similarity_of_bases, subspace_similarity, svd_of, z_of_whole
from minilora.experiments.claims import Claim, own, paper
from minilora.experiments.comparison import mean_and_spread
from minilora.experiments.experiment import Experiment
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
from minilora.experiments.verdicts import better, of_values

FULL = SubspaceConfig(ranks=(8, 64))


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`.

    An adapter of the lower rank is compared with that of the higher one of the same seed, which draws the same batches
    in the same order. But its A starts from other random numbers: from the same ones, the two would share these
    whatever they learn.
    """
    low, high = config.ranks
    adapters = trained_adapters(config, sweep, other_start=(low,))
    pairs = list(zip(adapters[low], adapters[high], strict=True))
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
    return {"ranks": [low, high], "I": I, "layers": layers, "batches": "the same"}


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
        f"r = {low} against r = {high}, whose A starts from other random numbers, with {batches(results)} batches.",
        "The paper: phi(1, 1) of A is above 0.5 in W_q and W_v.",
    ]


def batches(results):
    """Whether the batches of the two were "the same" or "other" ones, as in results of before."""
    return results.get("batches", "other")


def shared(name):
    """`Claim.compare`: by how much phi(1, 1) is above a half in W_q and W_v of the middle layer."""

    def compare(results):
        if batches(results) == "other":
            return None
        paths = [middle_layer(results["layers"], projection) for projection in ("q_proj", "v_proj")]
        rows = {path: results["layers"][path][name]["values"] for path in paths}
        return [of_values(f"{path}: phi(1, 1) above a half", [phi - 0.5 for phi in rows[path]]) for path in paths]

    return compare


CLAIMS = (
    Claim(
        "figure3.top-direction",
        "The top direction of A is shared, with phi(1, 1) > 0.5, in W_q and W_v of the middle layer",
        paper("section 7.2", "share a subspace of dimension 1 with normalized similarity >0.5"),
        better(),
        shared("first_A"),
        "Before training the two have nothing in common but what chance gives, which is in the table; training has "
        "not turned their first directions to the same one.",
    ),
    Claim(
        "figure3.of-delta",
        "So is that of delta W, which does not depend on how it is split into B and A",
        own("footnote 7 says that B can be looked at, too"),
        better(),
        shared("first_delta"),
    ),
)


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
    "are of adapters as table 18's, for which {base} was adapted to mini-E2E, and whose A start from different random "
    "numbers. Those of A depend on how delta W is split into B and A, so those of delta W are shown next to them.",
    config=FULL,
    quick=FULL.quick(),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
    on=FULL.on,
)
