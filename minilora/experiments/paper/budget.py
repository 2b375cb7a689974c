"""How LoRA's gap to full fine-tuning depends on the budget: mini-E2E with more and more steps."""

from dataclasses import dataclass, replace

from minilora.experiments.claims import Claim, own
from minilora.experiments.comparison import mean_and_spread, plus_minus, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import HERE, QUICK, Training, rates_line, summary, train_all
from minilora.experiments.paper.table3 import ALL_LAYERS, FULL, METHODS, NO_WORSE, run_of, usual_first
from minilora.experiments.text_scores import need_text_scores
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, no_worse, of_values, paired

LABELS = (FULL, ALL_LAYERS)


@dataclass(frozen=True)
class Config:
    """How long the decoder is trained, and with which methods.

    Parameters
    ----------
    training : Training
        Its steps are replaced by those below.
    budgets : sequence of int
        Numbers of steps, rising. A longer run is a run of its own, whose learning rate falls to zero at its own end.
    rates : sequence of sequence of float, optional
        Of full fine-tuning and of LoRA, the usual one first; table 3's, if not given.
    n_rates : int
        How many of them to try.
    """

    training: Training = Training()
    budgets: tuple[int, ...] = (100, 300, 900)
    rates: tuple[tuple[float, ...], ...] | None = None
    n_rates: int = 3

    def __post_init__(self):
        if len(self.budgets) < 2 or list(self.budgets) != sorted(set(self.budgets)) or self.budgets[0] < 1:
            raise ValueError(f"budgets was {self.budgets}; it must be at least 2 rising numbers, from 1")
        if self.rates is None:
            object.__setattr__(self, "rates", tuple(usual_first(label)[: self.n_rates] for label in LABELS))


def on(base):
    """The Config on another base: budgets up to the base's own."""
    most = base.training.steps
    budgets = (max(1, most // 4), max(2, most // 2), max(3, most))
    rates = tuple(base.rates_of(METHODS[label][0], usual_first(label)) for label in LABELS)
    return Config(base.training, budgets, rates, base.n_rates)


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    need_text_scores()
    results = {}
    for steps in config.budgets:
        training = replace(config.training, steps=steps)
        settings = {label: run_of(training, label) for label in LABELS}
        rates = dict(zip(LABELS, config.rates, strict=True))
        found = train_all(sweep, settings, rates, training.seeds)
        results[str(steps)] = {label: summary(row) for label, row in found.items()}
    return {"batch_size": config.training.batch_size, "steps": results}


def gap(results, score):
    """By how much full fine-tuning is ahead of LoRA: for each number of steps, a value for each seed."""
    return {
        int(steps): [full - lora for full, lora in zip(rows[FULL][score]["values"], rows[ALL_LAYERS][score]["values"])]
        for steps, rows in results["steps"].items()
    }


def table(results):
    scores = ("test loss", "exact, %", "SER, %", "BLEU", "BLEU behind full")
    lines = [("steps", "", "trainable", "lr", *scores)]
    for steps, rows in results["steps"].items():
        for label, row in rows.items():
            behind = "-" if label == FULL else plus_minus(mean_and_spread(gap(results, "bleu")[int(steps)]))
            lines.append(
                (
                    steps,
                    label,
                    f"{row['trainable']:,}",
                    rate(row),
                    plus_minus(row["test"], 3),
                    *(plus_minus(row[score], 1, 100) for score in ("slot_exact", "slot_error_rate")),
                    plus_minus(row["bleu"]),
                    behind,
                )
            )
    return [
        *aligned(lines),
        "",
        f"Each step reads {results['batch_size']} examples. Losses in nats per byte; exact: answers that say every",
        "attribute once and nothing else; SER: slot error rate.",
        *rates_line([row for rows in results["steps"].values() for row in rows.values()], "method and budget"),
    ]


def closes(results):
    """The gap with the fewest steps, less that with the most, for each seed."""
    gaps = gap(results, "bleu")
    return [paired(f"gap after {min(gaps)} steps, less that after {max(gaps)}", gaps[min(gaps)], gaps[max(gaps)])]


def at_the_end(score, factor=1):
    """`Claim.compare`: LoRA's lead over full fine-tuning in a score with the most steps, for each seed."""

    def compare(results):
        gaps = gap(results, score)
        label = f"LoRA against full fine-tuning, {max(gaps)} steps"
        return [of_values(label, [-factor * value for value in gaps[max(gaps)]])]

    return compare


CLAIMS = (
    Claim(
        "budget.closes",
        "LoRA's gap to full fine-tuning is smaller after many steps than after few",
        own("the question that table 3's budget raises"),
        better("BLEU"),
        closes,
        "Where both have learned next to nothing there is no gap either; look at the curve.",
    ),
    Claim(
        "budget.no-worse",
        "With the most steps, LoRA on all layers is no worse than full fine-tuning",
        own("table 3, on all layers and with a larger budget"),
        NO_WORSE,
        at_the_end("bleu"),
    ),
    Claim(
        "budget.exact",
        "With the most steps, LoRA on all layers gets no fewer sentences exactly right than full fine-tuning",
        own("because BLEU forgives an attribute that is left out"),
        no_worse(5.0, "points", "five sentences in a hundred are what a reader would notice"),
        at_the_end("slot_exact", 100),
    ),
)


def plot(results):
    from minilora import plots

    def curves(score, factor=1):
        return {
            label: [
                (int(steps), [factor * value for value in rows[label][score]["values"]])
                for steps, rows in results["steps"].items()
            ]
            for label in next(iter(results["steps"].values()))
        }

    panels = {
        "test loss (nats per byte)": curves("test"),
        "BLEU on test": curves("bleu"),
        "slot-exact sentences (%)": curves("slot_exact", 100),
    }
    return plots.seed_curves(panels, xlabel="training steps", xscale="log2")


EXPERIMENT = Experiment(
    name="budget",
    title="LoRA and full fine-tuning, against the number of steps",
    about="In table 3 every method has the same small budget. Here {base} is adapted to mini-E2E for more and more "
    "steps; each budget is a run of its own, with a learning rate of its own, chosen on valid.",
    config=Config(),
    quick=Config(QUICK, budgets=(2, 3), n_rates=1),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
    on=on,
)
