"""Where LoRA falls behind full fine-tuning: too little rank, the wrong layers, large batches; and its learning rate."""

from itertools import pairwise

import numpy

from minilora.experiments.claims import WITHOUT_REGRET, Claim, later
from minilora.experiments.comparison import mean_and_spread, plus_minus, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.regret_runs import FULL, PLACES, Config, run
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, no_worse, of_values, paired

MARGIN = 0.02  # bits per byte


def at_end(row):
    """The bits per byte of test at the end, for each seed."""
    return [path[-1] for path in row["code"]]


def leaves(row, full):
    """After how many windows a setting's loss stays above full fine-tuning's by more than MARGIN, in the seeds' mean.

    None if it does not. At the start, where nothing has been learned, the two are equal.
    """
    above = numpy.mean(row["code"], axis=0) - numpy.mean(full["code"], axis=0) > MARGIN
    return row["read"][len(above) - int(numpy.argmin(above[::-1]))] if above[-1] else None


def gaps(results):
    """By how much LoRA's loss is above full fine-tuning's, for each seed, by batch size."""
    parts = {int(part.split()[-1]): rows for part, rows in results["parts"].items() if part.startswith("batches")}
    return {
        n: [lora - full for lora, full in zip(at_end(rows["LoRA"]), at_end(rows[FULL]), strict=True)]
        for n, rows in parts.items()
    }


def table(results):
    parts = results["parts"]
    full = parts["ranks"][FULL]
    lines = [("", "trainable", "lr", "test, bits per byte", "leaves after", "lowest at lr", "of full's")]
    for label, row in parts["ranks"].items():
        left = "-" if label == FULL else leaves(row, full)
        ratio = row["lowest_point"] / full["lowest_point"]
        found = plus_minus(mean_and_spread(at_end(row)), 3), "never" if left is None else str(left)
        lines.append((label, f"{row['trainable']:,}", rate(row), *found, f"{row['lowest_point']:.2g}", f"{ratio:.1f}"))
    places = [("", "trainable", "lr", "test, bits per byte")]
    for label, row in parts["places"].items():
        found = plus_minus(mean_and_spread(at_end(row)), 3)
        places.append((label, f"{row['trainable']:,}", rate(row), found))
    batches = [("batch", "LoRA's lr", "full's lr", "LoRA", FULL, "gap")]
    for n, gap in gaps(results).items():
        lora, full = (parts[f"batches of {n}"][label] for label in ("LoRA", FULL))
        losses = (plus_minus(mean_and_spread(values), 3) for values in (at_end(lora), at_end(full), gap))
        batches.append((str(n), rate(lora), rate(full), *losses))
    return [
        *aligned(lines),
        "",
        *aligned(places),
        "",
        *aligned(batches),
        "",
        f"All read {results['windows']:,} windows of code. lr: the best of equally many, on valid with the first seed",
        "(*: the lowest or highest of them).",
        f"leaves after: windows from which the loss stays {MARGIN} bits per byte or more above full fine-tuning's;",
        f"{full['read'][1]:,}, the first that were measured, means that it was above from the start.",
        "lowest at lr: of the parabola in log lr through the lowest loss of the first seed and its neighbours.",
        f"batch: LoRA of rank {results['batch_rank']} on all layers. There is no such table in the paper.",
    ]


NO_WORSE = no_worse(MARGIN, "bits per byte", "about a hundredth of the loss")


def less_is_worse(results):
    lora = [(label, row) for label, row in results["parts"]["ranks"].items() if label != FULL]
    return [
        paired(f"{low}, above {high}", at_end(worse), at_end(row)) for (low, worse), (high, row) in pairwise(lora)
    ] or None


def highest_beside_full(results):
    rows = results["parts"]["ranks"]
    *_, highest, full = rows
    return [paired(f"{full}, above {highest}", at_end(rows[full]), at_end(rows[highest]))]


def attention_beside(results):
    rows = results["parts"]["places"]
    attention = at_end(rows["attention alone"])
    return [paired(f"attention alone, above {label}", attention, at_end(rows[label])) for label in list(PLACES)[:2]]


def mlp_beside_all(results):
    rows = results["parts"]["places"]
    return [paired("all layers, above MLP alone", at_end(rows["all layers"]), at_end(rows["MLP alone"]))]


def gap_grows(results):
    found = gaps(results)
    small, large = min(found), max(found)
    growth = [b - a for a, b in zip(found[small], found[large], strict=True)]
    return [of_values(f"the gap at a batch of {large}, above that at {small}", growth)] if small < large else None


CLAIMS = (
    Claim(
        "regret.capacity",
        "The lower the rank, the higher the loss at the end of a long run",
        later(
            f"{WITHOUT_REGRET}, LoRA rank",
            "Medium and low-rank LoRAs fall off the minimum-loss learning curves at some threshold of steps that "
            "correlates with rank",
        ),
        better("bits per byte"),
        less_is_worse,
        "The run may be too short for the higher ranks to be full.",
    ),
    Claim(
        "regret.high-rank",
        "The highest rank is no worse than full fine-tuning",
        later(
            f"{WITHOUT_REGRET}, LoRA rank",
            "FullFT and high-rank LoRAs have similar learning curves with loss decreasing linearly with the logarithm "
            "of the number of steps",
        ),
        NO_WORSE,
        highest_beside_full,
        "A base as small as this one has to learn much of its new language.",
    ),
    Claim(
        "regret.attention",
        "With as many parameters, LoRA on the attention alone is worse than on all layers or on the MLP alone",
        later(
            f"{WITHOUT_REGRET}, Layers Where LoRA Is Applied",
            "attention-only with rank 256 underperforms MLP-only with rank 128, despite them having approximately the "
            "same number of parameters",
        ),
        better("bits per byte"),
        attention_beside,
    ),
    Claim(
        "regret.mlp",
        "The MLP alone is no worse than all layers",
        later(
            f"{WITHOUT_REGRET}, Layers Where LoRA Is Applied",
            "applying LoRA to the attention matrices shows no additional benefits beyond applying it to the MLPs only",
        ),
        NO_WORSE,
        mlp_beside_all,
    ),
    Claim(
        "regret.batch",
        "LoRA falls further behind full fine-tuning in large batches",
        later(
            f"{WITHOUT_REGRET}, Batch size effects",
            "The performance gap grows with larger batch sizes, independent of rank",
        ),
        better("bits per byte"),
        gap_grows,
        "Each method has the best of the same rates at every batch size, and large batches leave few steps.",
    ),
)


def plot(results):
    from minilora import plots

    parts = results["parts"]

    def curves(rows):
        return {label: along(row["read"], row["code"]) for label, row in rows.items()}

    gap = {}
    for part, rows in parts.items():
        if part.startswith("batches"):
            lora, full = rows["LoRA"], rows[FULL]
            gap[part] = after_a_quarter(along(lora["read"], numpy.subtract(lora["code"], full["code"]).tolist()))
    panels = {"ranks: code, test (bits per byte)": curves(parts["ranks"])}
    panels |= {"layers: code, test (bits per byte)": curves(parts["places"])}
    panels |= {"LoRA above full fine-tuning, after a quarter (bits per byte)": gap}
    return plots.seed_curves(panels, xlabel="windows read", xscale="log")


def along(read, by_seed):
    """What each seed had after so many windows, as (windows, values); without the start, which has no logarithm."""
    return list(zip(read, map(list, zip(*by_seed, strict=True)), strict=True))[1:]


def after_a_quarter(points):
    """A curve without the first quarter of its points, at least one: there a high rate makes a large batch jump."""
    return points[max(1, len(points) // 4) :]


EXPERIMENT = Experiment(
    name="regret",
    title="Where LoRA falls behind: rank, layers, batch size, learning rate",
    about='Not in the paper: what "LoRA Without Regret" (Thinking Machines, 2025) found, in small. The bundled decoder '
    "learns source code, far more of it than a low rank can hold, with a constant learning rate, the best of three for "
    "each row: at several ranks, in some of the layers with as many parameters, and in batches of several sizes.",
    config=Config(),
    quick=Config(
        windows_read=8,
        batch_size=2,
        looks=2,
        windows=2,
        ranks=(1, 4),
        batches=(2, 4),
        batch_rank=4,
        seeds=(0, 1),
        full=(1e-3,),
        lora=(3e-3,),
    ),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
)
