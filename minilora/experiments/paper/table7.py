"""Table 7: how much larger delta W is than W in the same directions."""

import numpy

from minilora.analysis import Amplification, amplification_table
from minilora.experiments.claims import Claim, paper
from minilora.experiments.comparison import mean_and_spread, plus_minus
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import HERE
from minilora.experiments.paper.trained_adapters import SubspaceConfig, base_weight, middle_layer, trained_adapters
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, of_values, paired
from minilora.interop.opening import open_language_model

FULL = SubspaceConfig(ranks=(4, 64))
PAPER = {  # by rank, W_q of layer 48 of GPT-3: ||U^T W V^T|| for delta W, W, random; ||W||, ||delta W||, amplification
    4: (0.32, 21.67, 0.02, 61.95, 6.91, 21.5),
    64: (1.90, 37.71, 0.33, 61.95, 3.57, 1.9),
}
HUGE = 10  # times, half of the paper's factor
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


def of_middle(results):
    """W_q's row of the middle block at the lowest and at the highest rank, by rank."""
    ranks = results["ranks"]
    low, high = min(ranks, key=int), max(ranks, key=int)
    path = middle_layer(ranks[low])
    return {f"r = {rank}": ranks[rank][path] for rank in (low, high)}


def above_random(results):
    return [
        of_values(
            f"of delta W above of random directions, {rank}",
            [x - row["random_expected"] for x in row["delta"]["values"]],
        )
        for rank, row in of_middle(results).items()
    ]


def below_half_of_the_top(results):
    rank, row = next(iter(of_middle(results).items()))
    halves = [value / 2 for value in row["weight"]["values"]]
    return [paired(f"half of W's own above that of delta W, {rank}", halves, row["delta"]["values"])]


def above_ten(results):
    rank, row = next(iter(of_middle(results).items()))
    return [of_values(f"amplification above {HUGE}, {rank}", [factor - HUGE for factor in row["factor"]["values"]])]


def low_above_high(results):
    (low, a), (high, b) = of_middle(results).items()
    return [paired(f"amplification, {low} against {high}", a["factor"]["values"], b["factor"]["values"])]


CLAIMS = (
    Claim(
        "table7.correlated",
        "W has more in delta W's directions than in random ones",
        paper("section 7.3", "First, dW has a stronger correlation with W compared to a random matrix"),
        better(),
        above_random,
        "Most directions of an A that was trained so briefly are still the random ones that it began with.",
        "||U^T W V^T||; what random directions give is exact, r / C times ||W||.",
    ),
    Claim(
        "table7.not-the-top",
        "Delta W does not repeat W's top directions: at the lower rank, W has less than half of its own in them",
        paper(
            "section 7.3",
            "Second, instead of repeating the top singular directions of W, dW only amplifies directions that are not "
            "emphasized in W",
        ),
        better(),
        below_half_of_the_top,
        "The top directions of a small W carry most of what its input has, and a task that changes all of the model's "
        "text reaches them too.",
        "Nothing can have more than W's own; in the paper it is 1.5 % of that. 64 of 12,288 directions are 0.5 %, a "
        "large part of a small W's, so that the higher rank would ask something else here.",
    ),
    Claim(
        "table7.amplified",
        f"Delta W amplifies what W has in its directions more than {HUGE} times, at the lower rank",
        paper("section 7.3", "Third, the amplification factor is rather huge: 21.5 = 6.91/0.32 for r = 4"),
        better("times"),
        above_ten,
        "In the paper delta W is large and W small in the same few directions. A small W has something in every "
        "direction, which 4 of 12,288 can avoid.",
        "The factor grows with ||delta W||, which beside ||W|| is 0.11 in the paper, and ours is in the table.",
    ),
    Claim(
        "table7.less-at-64",
        "It amplifies less at the higher rank",
        paper("section 7.3", "See Section H.4 for why r = 64 has a smaller amplification factor"),
        better("times"),
        low_above_high,
        "With alpha / r as the scale, the higher rank spreads a delta W of another size over more directions.",
    ),
)


def plot(results):
    from minilora import plots

    tables, factors = {}, {}
    for rank, layers in results["ranks"].items():
        row, label = layers[middle_layer(layers)], f"$r = {rank}$"
        means = {name: row[name]["mean"] for name in COLUMNS if name != "factor"}
        tables[label] = Amplification(r=row["r"], random_expected=row["random_expected"], **means)
        factors[label] = row["factor"]["mean"]  # the seeds' mean, as in the table, and not the quotient of their means
    return plots.amplification_bars(tables, factors)


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
    claims=CLAIMS,
    here=HERE,
    on=FULL.on,
)
