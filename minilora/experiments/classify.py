"""Methods compared on a classification task, as in the paper's table 2: one encoder, and the same budget for each.

Every method gets the same steps, batches and choice of learning rates. With the first seed it is trained at each rate,
and the one with the best accuracy on valid is its own; with the other seeds it is trained at that rate alone. A rate at
which the loss becomes infinite is no choice. The head is new and is trained by every method; as in the paper, it is not
counted as the method's. Nothing is chosen by a score on test.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy

from minilora.analysis import count_parameters
from minilora.data import load_classification_task
from minilora.experiments.baselines import baselines
from minilora.experiments.classify_report import METRICS, draw, report
from minilora.experiments.finished_runs import FinishedRuns
from minilora.experiments.measure import mean_and_spread, measure_classes
from minilora.experiments.record import provenance
from minilora.files import write_atomically, write_json
from minilora.methods import apply_method, described
from minilora.models import load_bundled, load_model, new_classifier, weights_id
from minilora.training import Diverged, TrainConfig, Trainer


@dataclass(frozen=True)
class ClassifyConfig:
    """What all methods have in common.

    Parameters
    ----------
    task : str
        See `minilora.data.load_classification_task`.
    train : TrainConfig
        Its lr and seed give way to those below.
    lrs : sequence of float
        The learning rates that each method is tried at.
    seeds : sequence of int
        At least two; each draws the head, what a method adds, and the batches.
    """

    task: str = "unicode-names"
    train: TrainConfig = TrainConfig(steps=600, batch_size=32)
    lrs: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2)
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self):
        for name, least in (("lrs", 1), ("seeds", 2)):
            values = tuple(getattr(self, name))
            if len(set(values)) < max(least, len(values)):
                raise ValueError(f"{name} was {values}; it may be at least {least} different numbers")
            object.__setattr__(self, name, values)


@dataclass(frozen=True)
class ClassifyRun:
    """One training of one method: all that makes it this run and no other, so that any process can do it.

    Parameters
    ----------
    task : str
        See `minilora.data.load_classification_task`.
    method : str or dataclass
        A name in `minilora.methods.METHODS`, or a configuration such as a LoRAConfig.
    train : TrainConfig
    encoder : str, optional
        The file of an encoder, whatever head it has; the bundled one, if not given.
    device : {"cpu", "gpu", "auto"}
    """

    task: str
    method: Any
    train: TrainConfig
    encoder: str | None = None
    device: str = "cpu"


def train_and_measure(settings, bar=None):
    """One run: the encoder with a new head, adapted, trained, and measured on valid and test.

    Parameters
    ----------
    settings : ClassifyRun
    bar : str, optional
        What stands beside a progress bar; without it there is none.

    Returns
    -------
    dict, for JSON
        trainable and head, the numbers that the method and the head train; seconds of training; diverged, which is None
        or says how the loss became infinite. Of a run that has not: loss, the mean of the last tenth of the steps;
        valid and test, see `measure_classes`. Of one that has, these three are None.
    """
    model, task = adapted_classifier(settings)
    head, train = sum(p.data.size for p in model.head.parameters()), settings.train
    trainer = Trainer(model, lambda rng: task.sample_batch(rng, train.batch_size), train)
    diverged, loss, scores = None, None, {"valid": None, "test": None}
    try:
        losses = trainer.run(bar, progress=bar is not None).losses
        loss, scores = mean(losses[-max(1, train.steps // 10) :]), finite_scores(model, task)
    except Diverged as error:
        diverged, loss = str(error), None
    return {
        "trainable": count_parameters(model).trainable - head,
        "head": head,
        "seconds": trainer.history.seconds,
        "diverged": diverged,
        "loss": loss,
        **scores,
    }


def adapted_classifier(settings):
    """The model of a ClassifyRun, ready to be trained, and its task."""
    encoder = open_encoder(settings.encoder, settings.device)
    task = load_classification_task(settings.task, length=encoder.longest_input)
    rng = numpy.random.default_rng(settings.train.seed)
    model = new_classifier(encoder, len(task.label_names), rng)
    apply_method(model, settings.method, rng=rng)
    return model, task


def open_encoder(file, device):
    """The model in a file, or the bundled encoder."""
    return load_bundled("encoder", device=device) if file is None else load_model(file, device=device)


def finite_scores(model, task):
    """The scores on valid and test; `Diverged` is raised if what the last step left is no longer finite."""
    scores = {split: measure_classes(model, task, split=split) for split in ("valid", "test")}
    for split, of_split in scores.items():
        if not math.isfinite(of_split["loss"]):
            raise Diverged(f"the loss on {split} was {of_split['loss']} after the last step")
    return scores


def run(methods, config, folder, *, encoder=None, device="cpu", command=None, progress=True):
    """Train and measure all methods. Finished runs are kept, and are not done again when this is run again.

    Parameters
    ----------
    methods : dict of str to (str or dataclass)
        By the label that it has in the table: a name in METHODS, or a configuration.
    config : ClassifyConfig
    folder : str or Path
        Gets ``runs.jsonl`` on the way; at the end ``classify.json``, ``classify.txt`` and ``classify.png``.
    encoder : str or Path, optional
        The file of a pretrained one; the bundled one, if not given.
    device : {"cpu", "gpu", "auto"}
    command : str, optional
        The command line, for the record.
    progress : bool
        Show a progress bar for each run.

    Returns
    -------
    results : dict
        What ``classify.json`` holds.

    Raises
    ------
    ValueError
        If a method does not fit the encoder; nothing has been trained then.
    """
    folder, file = Path(folder), None if encoder is None else str(encoder)

    def settings(method, lr, seed):
        return ClassifyRun(config.task, method, replace(config.train, lr=lr, seed=seed), file, device)

    for method in methods.values():  # what does not fit is to be known before hours of training
        _, task = adapted_classifier(settings(method, config.lrs[0], config.seeds[0]))
    model = open_encoder(file, device)
    about = {
        "task": {"name": task.name, "id": task.id},
        "encoder": {"weights": weights_id(model), **asdict(model.config)},
        "config": asdict(config),
    }
    finished = FinishedRuns(folder / "runs.jsonl", about)

    def result(label, lr, seed):
        bar = f"{label}, lr {lr:g}, seed {seed}" if progress else None
        key = {"method": described(methods[label]), "lr": lr, "seed": seed}
        return finished.result(key, lambda: train_and_measure(settings(methods[label], lr, seed), bar))

    summaries = {}
    for label, method in methods.items():
        at = {lr: result(label, lr, config.seeds[0]) for lr in config.lrs}
        lr = best_rate(at)
        others = [] if lr is None else [result(label, lr, seed) for seed in config.seeds[1:]]
        summaries[label] = {"method": described(method), **summary(at, lr, others)}
    results = {
        "command": command,
        **about,
        "examples": {split: task.class_counts(split) for split in ("train", "valid", "test")},
        "baselines": baselines(task),
        "methods": summaries,
        **provenance(),
    }
    write_json(folder / "classify.json", results)
    write_atomically(folder / "classify.txt", report(results) + "\n")
    draw(results, folder / "classify.png")
    return results


def best_rate(at):
    """The learning rate with the best accuracy on valid; None if all runs diverged.

    Parameters
    ----------
    at : dict of float to dict
        By learning rate: what `train_and_measure` returned.
    """
    finite = {lr: run["valid"]["accuracy"] for lr, run in at.items() if run["diverged"] is None}
    return max(finite, key=finite.get) if finite else None


def summary(at, lr, others):
    """What a method's runs come to.

    Parameters
    ----------
    at : dict of float to dict
        By learning rate: the run with the first seed.
    lr : float or None
        The chosen one of these rates.
    others : list of dict
        The runs at this rate with the other seeds.
    """
    runs = [] if lr is None else [at[lr], *others]
    finite = [run for run in runs if run["diverged"] is None]
    first = next(iter(at.values()))
    return {
        "trainable": first["trainable"],
        "head": first["head"],
        "lr": lr,
        "valid_accuracy_by_lr": [(lr, None if run["diverged"] else run["valid"]["accuracy"]) for lr, run in at.items()],
        "seeds": len(runs),
        "seeds_diverged": len(runs) - len(finite),
        **{metric: mean_and_spread([run["test"][metric] for run in finite]) for metric in METRICS},
        "seconds": mean_and_spread([run["seconds"] for run in finite]),
    }
