"""The learning rate against the method: LoRA's best is about ten times that of full fine-tuning."""

import math
from dataclasses import dataclass, field
from statistics import mean, stdev

import numpy

from minilora.experiments.adapt import adapt_and_keep
from minilora.experiments.claims import Claim, later
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import QUICK, Training, at
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import as_good, of_values

FULL, LORA = "full fine-tuning", "LoRA"
TEN = 10


@dataclass(frozen=True)
class Config:
    """The learning rates of the two methods, the same number for each."""

    training: Training = field(default_factory=Training)
    full: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    lora: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)

    def __post_init__(self):
        for name in ("full", "lora"):
            rates = getattr(self, name)
            if len(set(rates)) < max(2, len(rates)) or len(self.full) != len(self.lora):
                raise ValueError(f"{name} was {rates}; it must be 2 or more different rates, as many as the other has")


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    training, losses = config.training, {}
    settings = {
        (label, lr, seed): at(method_rows, lr, seed)
        for label, method_rows, lrs in ((FULL, training.of("full"), config.full), (LORA, training.lora(), config.lora))
        for lr in lrs
        for seed in training.seeds
    }
    runs = sweep(adapt_and_keep, list(settings.values()), model="decoder")
    for (label, lr, _), result in zip(settings, runs, strict=True):
        losses.setdefault(label, {}).setdefault(f"{lr:g}", []).append(result["valid"])
    return {"valid": losses}


def lowest_for(losses, lr):
    """For how many seeds a rate has the lowest loss."""
    return sum(min(known_losses(of_seed)) == loss for loss, *of_seed in zip(losses[lr], *losses.values(), strict=True))


def known_losses(losses):
    """The losses, with infinity where training diverged."""
    return [math.inf if loss is None else loss for loss in losses]


def best_rates(losses):
    """The rate with the lowest loss on valid, for each seed: that of `lowest_point`."""
    rates, rows = zip(*sorted((float(lr), row) for lr, row in losses.items()), strict=True)
    return [lowest_point(rates, [row[seed] for row in rows]) for seed in range(len(rows[0]))]


def lowest_point(rates, losses):
    """Where the parabola in log lr through the lowest loss and its two neighbours is lowest: finer than the grid.

    Parameters
    ----------
    rates : sequence of float
        Rising.
    losses : sequence of float or None
        None where training diverged.

    Returns
    -------
    float
        The rate itself, if it is the lowest or highest of them, or next to one that diverged.
    """
    finite = known_losses(losses)
    i = min(range(len(finite)), key=finite.__getitem__)
    if i in (0, len(finite) - 1) or math.inf in finite[i - 1 : i + 2]:
        return rates[i]
    a, b, _ = numpy.polyfit(numpy.log(rates[i - 1 : i + 2]), finite[i - 1 : i + 2], 2)
    return math.exp(-b / (2 * a)) if a > 0 else rates[i]


def table(results):
    lines, best = [("", "lr", "valid loss, nats per byte", "best for")], {}
    for label, losses in results["valid"].items():
        best[label] = best_rates(losses)
        for lr, row in losses.items():
            known = [loss for loss in row if loss is not None]
            text = f"{mean(known):.3f} ± {stdev(known):.3f}" if len(known) > 1 else "-"
            diverged = f", {len(row) - len(known)} diverged" if len(known) < len(row) else ""
            lines.append((label, lr, text + diverged, f"{lowest_for(losses, lr)} of {len(row)} seeds"))
    lowest = (f"{label} {', '.join(f'{lr:.2g}' for lr in of_seeds)}" for label, of_seeds in best.items())
    return [
        *aligned(lines),
        "",
        f"Lowest point of the parabola through the three lowest losses, by seed: {'; '.join(lowest)}.",
        "There is no such table in the paper.",
    ]


def ratio_beside_ten(results):
    best = {label: best_rates(losses) for label, losses in results["valid"].items()}
    for label, rates in best.items():
        tried = list(map(float, results["valid"][label]))
        if {min(tried), max(tried)} & set(rates):
            return f"the best rate of {label} is the lowest or highest of those tried, with some seed"
    full, lora = best[FULL], best[LORA]
    ratios = [math.log(b / a / TEN) / math.log(2) for a, b in zip(full, lora, strict=True)]
    found = TEN * 2 ** mean(ratios)
    return [
        of_values(f"LoRA's best rate over full fine-tuning's, {found:.1f} in the geometric mean; beside {TEN}", ratios)
    ]


CLAIMS = (
    Claim(
        "learning_rates.ten-times",
        f"LoRA's best learning rate is about {TEN} times that of full fine-tuning",
        later(
            "Schulman and Thinking Machines (2025), LoRA Without Regret",
            "the optimal learning rate for FullFT is lower by a factor of 10 than for high-rank LoRAs",
        ),
        as_good(1.0, "doublings", f"about {TEN} is between half and twice as much"),
        ratio_beside_ten,
        "The runs are short; the ratio also depends on alpha, here 32.",
        "A best rate is where a parabola in log lr through the three lowest losses is lowest, seed by seed.",
    ),
)


def plot(results):
    from minilora import plots

    lines = {label: [(float(lr), row) for lr, row in losses.items()] for label, losses in results["valid"].items()}
    return plots.seed_curves({"validation loss (nats per byte)": lines}, xlabel="learning rate", xscale="log")


EXPERIMENT = Experiment(
    name="learning_rates",
    title="The learning rate of LoRA and of full fine-tuning",
    about='Not in the paper: "LoRA Without Regret" (Thinking Machines, 2025) found LoRA\'s best learning rate to be '
    "about ten times that of full fine-tuning. Here both adapt the bundled decoder to mini-E2E at each rate (r = 4).",
    config=Config(),
    quick=Config(QUICK, full=(3e-4, 1e-3), lora=(3e-3, 1e-2)),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
)
