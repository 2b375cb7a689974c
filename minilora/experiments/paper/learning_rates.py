"""The learning rate against the method: LoRA's best is about ten times that of full fine-tuning."""

import math
from dataclasses import dataclass, field
from statistics import geometric_mean, mean, stdev

from minilora.experiments.adapt import adapt_and_keep
from minilora.experiments.experiment import Claim, Experiment
from minilora.experiments.paper.mini_e2e import QUICK, Training, at
from minilora.experiments.text_table import aligned

FULL, LORA = "full fine-tuning", "LoRA"


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


def best_rates(losses):
    """The rate with the lowest loss on valid, for each seed."""
    n_seeds = len(next(iter(losses.values())))
    finite = {float(lr): [math.inf if loss is None else loss for loss in row] for lr, row in losses.items()}
    return [min(finite, key=lambda lr: finite[lr][seed]) for seed in range(n_seeds)]


def table(results):
    lines = [("", "lr", "valid loss, nats per byte", "best for")]
    for label, losses in results["valid"].items():
        best = best_rates(losses)
        for lr, row in losses.items():
            known = [loss for loss in row if loss is not None]
            text = f"{mean(known):.3f} ± {stdev(known):.3f}" if len(known) > 1 else "-"
            diverged = f", {len(row) - len(known)} diverged" if len(known) < len(row) else ""
            lines.append((label, lr, text + diverged, f"{best.count(float(lr))} of {len(row)} seeds"))
    return [*aligned(lines), "", "There is no such table in the paper."]


def claims(results):
    best = {label: best_rates(losses) for label, losses in results["valid"].items()}
    ratio = geometric_mean(lora / full for full, lora in zip(best[FULL], best[LORA], strict=True))
    at_edge = [
        label
        for label, rates in best.items()
        if {min(map(float, results["valid"][label])), max(map(float, results["valid"][label]))} & set(rates)
    ]
    return [
        Claim(
            'LoRA\'s best learning rate is about ten times that of full fine-tuning ("LoRA Without Regret", 2025)',
            5 <= ratio <= 20,
            f"{ratio:.1f} times, in the geometric mean of {len(best[LORA])} seeds"
            + (f"; the best rate of {' and '.join(at_edge)} is at the edge of those tried" if at_edge else ""),
            "The rates are half a decade apart, and the runs are short; the ratio also depends on alpha, here 32.",
        )
    ]


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
    claims=claims,
)
