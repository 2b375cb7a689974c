"""Table 7: how much larger delta W is than W in the same directions."""

import numpy

from minilora.analysis import Amplification, amplification_table
from minilora.experiments.comparison import above, mean_and_spread, plus_minus
from minilora.experiments.experiment import Claim, Experiment
from minilora.experiments.paper.mini_e2e import HERE
from minilora.experiments.paper.trained_adapters import SubspaceConfig, base_weight, middle_layer, trained_adapters
from minilora.experiments.text_table import aligned
from minilora.interop.opening import open_language_model

FULL = SubspaceConfig(ranks=(4, 64))
PAPER = {  # by rank, W_q of layer 48 of GPT-3: ||U^T W V^T|| for delta W, W, random; ||W||, ||delta W||, amplification
    4: (0.32, 21.67, 0.02, 61.95, 6.91, 21.5),
    64: (1.90, 37.71, 0.33, 61.95, 3.57, 1.9),
}
COLUMNS = ("delta", "weight", "random", "norm_W", "norm_delta", "factor")


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    base, rng = open_language_model(config.training.model).model, numpy.random.default_rng(0)
    results = {}
    for rank, adapters in trained_adapters(config, sweep).items():
        results[str(rank)] = {}
        for path in adapters[0]:
            W = base_weight(base, path)
            tables = [amplification_table(W, factors[path], rng=rng) for factors in adapters]
            results[str(rank)][path] = {
                "r": tables[0].r,
                "random_expected": tables[0].random_expected,
                **{name: mean_and_spread([getattr(t, name) for t in tables]) for name in COLUMNS},
            }
    return {"ranks": results}


def table(results):
    lines = [("", "of delta W", "of W", "random", "||W||", "||delta W||", "amplification")]
    for rank, layers in results["ranks"].items():
        path = middle_layer(layers)
        lines.append((f"r = {rank}, {path}", *(plus_minus(layers[path][name], 3) for name in COLUMNS)))
        if int(rank) in PAPER:
            lines.append((f"r = {rank}, the paper", *map(str, PAPER[int(rank)])))
    sizes = [("", "||delta W|| / ||W||", "of delta W / random")]
    for rank, layers in results["ranks"].items():
        sizes += [(f"r = {rank}, {path}", *size_and_direction(row)) for path, row in layers.items()]
        if int(rank) in PAPER:
            delta, _, random, norm_W, norm_delta, _ = PAPER[int(rank)]
            sizes.append((f"r = {rank}, the paper", f"{norm_delta / norm_W:.2f}       ", f"{delta / random:.1f}      "))
    factors = [("amplification", *(f"r = {rank}" for rank in results["ranks"]))]
    for path in layers:
        factors.append((path, *(plus_minus(of[path]["factor"], 2) for of in results["ranks"].values())))
    return [
        *aligned(lines),
        "",
        "The first three: ||U^T W V^T||_F for the r leading directions U, V of delta W, of W, and random ones.",
        "The paper: W_q of layer 48 of 96 of GPT-3. Amplification: ||delta W||_F / ||U^T W V^T||_F.",
        "",
        *aligned(sizes),
        "",
        "The amplification grows with ||delta W||, whatever its directions are. What depends on these alone is",
        "||U^T W V^T|| of delta W over that of random ones, r / sqrt(O I) ||W||; the paper's is of printed digits.",
        "",
        *aligned(factors),
    ]


def size_and_direction(row):
    """||delta W|| / ||W||, and how many times more of W lies in delta W's directions than in random ones, as text."""
    sizes = [delta / W for delta, W in zip(row["norm_delta"]["values"], row["norm_W"]["values"], strict=True)]
    directions = [delta / row["random_expected"] for delta in row["delta"]["values"]]
    return plus_minus(mean_and_spread(sizes), 2), plus_minus(mean_and_spread(directions), 1)


def claims(results):
    ranks = results["ranks"]
    low, high = min(ranks, key=int), max(ranks, key=int)
    path = middle_layer(ranks[low])
    a, b = ranks[low][path], ranks[high][path]
    larger = [name for name in ranks[low] if above(ranks[low][name]["factor"], ranks[high][name]["factor"])]
    return [
        Claim(
            "Delta W has more to do with W than a random matrix has",
            above(a["delta"], a["random"]) and above(b["delta"], b["random"]),
            f"||U^T W V^T||: {plus_minus(a['delta'], 3)} for delta W and {plus_minus(a['random'], 3)} for random "
            f"directions at r = {low}; {plus_minus(b['delta'], 3)} and {plus_minus(b['random'], 3)} at r = {high}",
            "Most directions of an A that was trained so briefly are still the random ones that it began with.",
        ),
        Claim(
            "but it does not repeat W's top directions",
            above(a["weight"], a["delta"]) and above(b["weight"], b["delta"]),
            f"W's own: {plus_minus(a['weight'], 3)} at r = {low}, {plus_minus(b['weight'], 3)} at r = {high}",
            "Here delta W lies in W's own top directions.",
        ),
        Claim(
            f"It amplifies what W has in its directions many times (in the paper about 20) at r = {low}",
            a["factor"]["mean"] >= 10,
            f"{plus_minus(a['factor'], 1)} times in {path}",
            "In the paper delta W is large and W small in the same few directions. A W of 192 x 192 has something in "
            "every direction, which 4 of 12,288 can avoid; and this training is short.",
        ),
        Claim(
            f"and less at r = {high}",
            above(a["factor"], b["factor"]),
            f"{plus_minus(b['factor'], 1)} times in {path}; less in {len(larger)} of {len(ranks[low])} matrices",
            "With alpha / r as the scale, the higher rank spreads a delta W of another size over more directions.",
        ),
    ]


def plot(results):
    from minilora import plots

    tables = {}
    for rank, layers in results["ranks"].items():
        row = layers[middle_layer(layers)]
        means = {name: row[name]["mean"] for name in COLUMNS if name != "factor"}
        tables[f"$r = {rank}$"] = Amplification(r=row["r"], random_expected=row["random_expected"], **means)
    return plots.amplification_bars(tables)


EXPERIMENT = Experiment(
    name="table7",
    title="How much delta W amplifies what W does in its directions",
    about="The paper projects GPT-3's W_q onto the directions of delta W, of W itself and of a random matrix. Here "
    "it is W_q and W_v of table 18's adapters, for which {base} was adapted to mini-E2E; table and figure show W_q of "
    "the middle block, as the paper's do.",
    config=FULL,
    quick=FULL.quick(),
    run=run,
    table=table,
    plot=plot,
    claims=claims,
    here=HERE,
    on=FULL.on,
)
