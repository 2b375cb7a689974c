"""Figure 8: the singular directions of delta W against those of W."""

import numpy

from minilora.analysis import random_control, weight_similarity, z_of_whole
from minilora.experiments.claims import Claim, paper
from minilora.experiments.comparison import mean_and_spread
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import HERE
from minilora.experiments.paper.trained_adapters import (
    WHAT_Z_IS,
    SubspaceConfig,
    as_grid,
    as_text,
    base_weight,
    middle_layer,
    symbol,
    trained_adapters,
    with_z,
)
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import no_worse, of_values
from minilora.interop.opening import open_language_model

FULL = SubspaceConfig(ranks=(4,))
TOP = 0.1  # of W's directions
BARELY = 0.2  # "the similarity barely exceeds 0.2", the paper's appendix H.3


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    (rank,) = config.ranks
    adapters = trained_adapters(config, sweep)[rank]
    base, rng = open_language_model(config.training.model).model, numpy.random.default_rng(0)
    layers = {}
    for path in adapters[0]:
        W = base_weight(base, path)
        n = round(TOP * W.shape[1])
        phi = numpy.array([weight_similarity(W, factors[path], n, rng=rng) for factors in adapters])  # (seeds, n, r)
        layers[path] = {
            "grid": as_text(phi.mean(axis=0)),
            "all": mean_and_spread([float(grid[-1, -1]) for grid in phi]),
            "control": as_text(random_control(*phi.shape[1:], W.shape[1])),
        }
    return {"rank": rank, "I": W.shape[1], "layers": layers}


def sizes(results):
    """n and r: how many directions of W and of delta W are compared."""
    return as_grid(next(iter(results["layers"].values()))["grid"]).shape


def table(results):
    n, r = sizes(results)
    lines = [("", f"phi({n}, {r})", "random")]
    for path, row in results["layers"].items():
        lines.append((path, with_z(row["all"], n, r, results["I"]), f"{as_grid(row['control'])[-1, -1]:.3f}"))
    return [
        *aligned(lines),
        "",
        WHAT_Z_IS,
        f"Between W's first {n} directions, the top {100 * TOP:.0f} %, and delta W's first {r}, on the input side.",
        "The paper: it barely exceeds 0.2 for GPT-3, where random directions would give 0.1 too.",
    ]


def below_barely(results):
    path = middle_layer(results["layers"])
    values = results["layers"][path]["all"]["values"]
    return [of_values(f"{BARELY} above phi, {path}", [BARELY - phi for phi in values])]


CLAIMS = (
    Claim(
        "figure8.little-in-common",
        f"The top directions of delta W_q have little in common with the top {100 * TOP:.0f} % of W_q's",
        paper(
            "appendix H.3",
            "the similarity between the top 4 directions in dW and the top-10% of those in W barely exceeds 0.2",
        ),
        no_worse(0.05, "", f"barely above {BARELY}: half of what that is above chance, 0.1"),
        below_barely,
        "The top tenth of a small W carries most of what its input has: a task that changes all of the model's text "
        "reaches it too.",
    ),
)


def plot(results):
    from minilora import plots

    panels = {symbol(path): as_grid(row["grid"]) for path, row in results["layers"].items() if path.endswith("q_proj")}
    panels["random (expected)"] = as_grid(results["layers"][middle_layer(results["layers"])]["control"])
    largest = max(0.2, min(1.0, float(max(grid.max() for grid in panels.values()))))
    names = {"first": "$W$", "second": r"$\Delta W$", "z": z_of_whole(panels, results["I"])}
    return plots.similarity_grid(panels, columns=3, largest=largest, **names)


EXPERIMENT = Experiment(
    name="figure8",
    title="Directions of delta W against those of W",
    about="The paper compares the top 4 directions of GPT-3's delta W_q with the top 10 % of W_q's (appendix H.3). "
    "Here they are those of table 18's adapters of rank 4, for which {base} was adapted to mini-E2E; W_q and W_v.",
    config=FULL,
    quick=FULL.quick(),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
    on=FULL.on,
)
