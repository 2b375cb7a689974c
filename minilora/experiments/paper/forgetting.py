"""Forgetting: what adapting to code does to the prose that the decoder was trained on, with LoRA and without."""

import math
from dataclasses import dataclass

import numpy

from minilora.experiments.adapt import DecoderRun, decoder_trainer, task_of
from minilora.experiments.claims import Claim, Fact, later, own
from minilora.experiments.comparison import best_of_rates, check_seeds, mean_and_spread, plus_minus, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import ALPHA, minus_valid, valid_losses
from minilora.experiments.targets import OF_GPT
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, paired
from minilora.methods import LoRAConfig, set_adapter
from minilora.training import Diverged, TrainConfig, evaluate_loss

FULL, LORA = "full fine-tuning", "LoRA"
MEASURED = {"code_valid": ("code", "valid"), "code": ("code", "test"), "prose": ("prose", "test")}


@dataclass(frozen=True)
class CodeRun(DecoderRun):
    """An adaptation to code, and on how many windows of each split it is measured."""

    windows: int = 32


@dataclass(frozen=True)
class Config:
    """How long both are trained, how often they are measured on the way, and the rates to try for each."""

    steps: int = 120
    batch_size: int = 4
    every: int = 12
    windows: int = 32
    rank: int = 8
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    full: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    lora: tuple[float, ...] = (1e-3, 3e-3, 1e-2)

    def __post_init__(self):
        check_seeds(self.seeds)


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    # at a constant rate: the two are compared in the middle of their runs, where a decaying rate would differ
    schedule = {"schedule": "constant", "eval_every": config.every}
    train = TrainConfig(steps=config.steps, batch_size=config.batch_size, threads=1, **schedule)
    lora = LoRAConfig(rank=config.rank, alpha=ALPHA, targets=OF_GPT)
    settings = {
        FULL: CodeRun("code", "full", None, train, windows=config.windows),
        LORA: CodeRun("code", "lora", lora, train, windows=config.windows),
    }
    found = best_of_rates(
        sweep,
        adapt_to_code,
        settings,
        {FULL: config.full, LORA: config.lora},
        seeds=config.seeds,
        score=minus_valid,
        model="decoder",
    )
    methods = {}
    for label, method_rows in found.items():
        runs = method_rows["runs"]
        methods[label] = {
            "lr": method_rows["lr"],
            "valid_by_lr": valid_losses(method_rows),
            "paths": [r["path"] for r in runs],
            "off": [r["off"] for r in runs],
        }
    return {"methods": methods, "at_equal_gain": equal_gain(methods)}


def adapt_to_code(config):
    """Adapt the bundled decoder to code, and measure it on code and on prose on the way.

    Parameters
    ----------
    config : CodeRun

    Returns
    -------
    dict
        path, a dict for the start and for each measurement: step, and bits per byte of code_valid, code and prose
        (test); valid, the last code_valid, None if training diverged; off, for LoRA, prose with the adapter switched
        off again.
    """
    model, _, trainer = decoder_trainer(config)
    texts = {name: some_windows(model, *of, config.windows) for name, of in MEASURED.items()}

    def measured():
        return {name: evaluate_loss(model, batches) / math.log(2) for name, batches in texts.items()}

    path = [{"step": 0, **measured()}]

    def validate():
        path.append({"step": trainer.step, **measured()})
        return path[-1]["code_valid"]

    trainer.validate = validate
    try:
        trainer.run(progress=False)
    except Diverged:
        return {"path": path, "valid": None, "off": None}
    off = None
    if config.method == "lora":
        set_adapter(model, None)
        off = measured()["prose"]
    return {"path": path, "valid": path[-1]["code_valid"], "off": off}


def some_windows(model, name, split, n):
    """n windows from all over a split of a corpus, as Batches of one."""
    batches = list(task_of(name, length=model.longest_input).batches(split, batch_size=1))
    return batches[:: max(1, len(batches) // n)][:n]


def equal_gain(methods):
    """Each seed's two methods at equal gain on code's valid: the final gain of the weaker of the two.

    Between two measurements, the bits are interpolated linearly.

    Parameters
    ----------
    methods : dict of str to dict
        With paths.

    Returns
    -------
    dict of str to dict of str to (mean and spread)
        By method, at that point: step, bits per byte of code and prose (test), and their increase since the start.
    """
    found = {label: [] for label in methods}
    for paths in zip(*(row["paths"] for row in methods.values()), strict=True):
        target = max(min(point["code_valid"] for point in path) for path in paths)
        for label, path in zip(methods, paths, strict=True):
            point = where(path, target)
            found[label].append(point | {"forgotten": point["prose"] - path[0]["prose"]})
    names = ("step", "code", "prose", "forgotten")
    return {label: {n: mean_and_spread([p[n] for p in points]) for n in names} for label, points in found.items()}


def where(path, target):
    """The first point on a path where code_valid is as low as `target`, interpolated between two measurements."""
    reached = next(i for i, point in enumerate(path) if point["code_valid"] <= target)
    if reached == 0:  # nothing was gained
        return path[0]
    before, after = path[reached - 1], path[reached]
    part = (before["code_valid"] - target) / (before["code_valid"] - after["code_valid"])
    return {name: before[name] + part * (after[name] - before[name]) for name in ("step", "code", "prose")}


def last(results, label, name):
    """Mean and spread of a measured value at the end of training."""
    return mean_and_spread([path[-1][name] for path in results["methods"][label]["paths"]])


def table(results):
    lines = [("", "lr", "at step", "code", "prose", "forgotten", "end: code", "end: prose")]
    start = results["methods"][LORA]["paths"][0][0]
    lines.append(("the decoder as it is", "-", "0", f"{start['code']:.3f}", f"{start['prose']:.3f}", "-", "-", "-"))
    for label, row in results["at_equal_gain"].items():
        equal = (plus_minus(row["step"], 0), *(plus_minus(row[name], 3) for name in ("code", "prose", "forgotten")))
        end = (plus_minus(last(results, label, name), 3) for name in ("code", "prose"))
        lines.append((label, rate(results["methods"][label]), *equal, *end))
    off = numpy.mean(results["methods"][LORA]["off"])
    lines.append(("LoRA, switched off", "-", "-", "-", "-", "-", "-", f"{off:.3f}"))
    return [
        *aligned(lines),
        "",
        "Bits per byte of test, where both have gained as much on code's valid (the weaker one's whole gain), and at "
        "the end.",
        "lr: the best of equally many, on code's valid with the first seed (*: the lowest or highest of them).",
        "There is no such table in the paper.",
    ]


BIDERMAN = "Biderman et al. (2024), LoRA Learns Less and Forgets Less"


def forgets_less(results):
    full, lora = (results["at_equal_gain"][label]["forgotten"]["values"] for label in (FULL, LORA))
    return [paired("rise on prose: full fine-tuning's above LoRA's", full, lora)]


def learns_less(results):
    lora, full = (last(results, label, "code")["values"] for label in (LORA, FULL))
    return [paired("code at the end: LoRA's above full fine-tuning's", lora, full)]


def remembers_all(results):
    rows = results["methods"][LORA]
    before = [path[0]["prose"] for path in rows["paths"]]
    same = sum(a == b for a, b in zip(before, rows["off"], strict=True))
    return Fact(before == rows["off"], f"the same to the last digit with {same} of {len(before)} seeds")


CLAIMS = (
    Claim(
        "forgetting.less",
        "At the same gain on code, LoRA forgets less of the prose than full fine-tuning",
        later(BIDERMAN, "it better maintains the base model's performance on tasks outside the target domain"),
        better("bits per byte"),
        forgets_less,
        "Each method is at the rate that is best for code, LoRA's being the higher one; prose did not enter the "
        "choice, and a high rate moves the model far.",
        "Three seeds had left it undecided before two more were added, so its p is somewhat too small.",
    ),
    Claim(
        "forgetting.learns-less",
        "LoRA learns less in the same number of steps",
        later(BIDERMAN, "LoRA substantially underperforms full finetuning"),
        better("bits per byte"),
        learns_less,
        "In so few steps the number of parameters is not what limits either.",
    ),
    Claim(
        "forgetting.switched-off",
        "Switched off, LoRA has forgotten nothing",
        own("its base is frozen"),
        "prose has the same bits per byte as before",
        remembers_all,
        "The base must have been changed.",
    ),
)


def plot(results):
    from minilora import plots

    lines = {}
    for label, row in results["methods"].items():
        lines[label] = []
        for points in list(zip(*row["paths"], strict=True))[1:]:  # the seeds' measurements at one step
            learned = numpy.mean([path[0]["code_valid"] - p["code_valid"] for path, p in zip(row["paths"], points)])
            forgotten = [p["prose"] - path[0]["prose"] for path, p in zip(row["paths"], points)]
            lines[label].append((float(learned), forgotten))
    steps = [point["step"] for point in next(iter(results["methods"].values()))["paths"][0]]
    return plots.seed_curves(
        {"prose forgotten (bits per byte above the base)": lines},
        xlabel="code learned (bits per byte below the base)",
        note=f"Marks from step {steps[min(1, len(steps) - 1)]} to {steps[-1]}; the base would be at 0, 0.",
    )


EXPERIMENT = Experiment(
    name="forgetting",
    title="Forgetting: prose, while code is learned",
    about="Not in the paper: the bundled decoder, which has read prose, is adapted to source code by LoRA on all "
    "linear maps and by full fine-tuning, and measured on both; compared where both have gained as much on code.",
    config=Config(),
    quick=Config(steps=4, batch_size=2, every=2, windows=2, seeds=(0, 1), full=(1e-3,), lora=(3e-3,)),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
)
