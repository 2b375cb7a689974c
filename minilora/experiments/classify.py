"""Methods compared on a classification task, as in the paper's table 2: one encoder, and the same budget for each.

Every method gets the same steps, batches and choice of learning rates. With the first seed it is trained at each rate,
and the one with the best accuracy on valid is its own; with the other seeds it is trained at that rate alone. The head
is new and is trained by every method; as in the paper, it is not counted as the method's. Nothing is chosen by a score
on test.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import numpy

from minilora.analysis import classification_scores, count_parameters
from minilora.backend import cores, one_blas_thread, to_numpy
from minilora.data import load_classification_task
from minilora.experiments.baselines import baselines
from minilora.experiments.finished_runs import FinishedRuns
from minilora.experiments.record import provenance, weights_id
from minilora.experiments.text_table import aligned
from minilora.files import write_atomically, write_json
from minilora.models import RobertaForClassification
from minilora.training import TrainConfig, Trainer

METRICS = ("accuracy", "macro_f1")


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


def run(encoder, methods, config, folder, *, command=None, progress=True):
    """Train and measure all methods. Finished runs are kept, and are not done again when this is run again.

    Parameters
    ----------
    encoder : Roberta
        Pretrained; it is copied for each run, and stays as it is.
    methods : dict of str to callable
        By its name: ``method(model, rng)`` adapts a RobertaForClassification in place. A method that changes needs
        another name, or another folder.
    config : ClassifyConfig
    folder : str or Path
        Gets ``runs.jsonl`` on the way; at the end ``classify.json``, ``classify.txt`` and ``classify.png``.
    command : str, optional
        The command line, for the record.
    progress : bool
        Show a progress bar for each run.

    Returns
    -------
    results : dict
        What ``classify.json`` holds.
    """
    folder = Path(folder)
    task = load_classification_task(config.task, length=encoder.config.n_positions)
    about = {
        "task": {"name": task.name, "id": task.id},
        "encoder": {"weights": weights_id(encoder), **asdict(encoder.config)},
        "config": asdict(config),
    }
    finished = FinishedRuns(folder / "runs.jsonl", about)

    def trained(name, lr, seed):
        train = replace(config.train, lr=lr, seed=seed)
        bar = f"{name}, lr {lr:g}, seed {seed}" if progress else None
        return finished.result(
            {"method": name, "lr": lr, "seed": seed},
            lambda: adapt_and_measure(encoder, task, methods[name], train, bar),
        )

    summaries = {}
    for name in methods:
        at = {lr: trained(name, lr, config.seeds[0]) for lr in config.lrs}
        lr = max(at, key=lambda lr: at[lr]["valid"]["accuracy"])
        runs = [at[lr], *(trained(name, lr, seed) for seed in config.seeds[1:])]
        summaries[name] = {
            **{key: runs[0][key] for key in ("trainable", "head")},
            "lr": lr,
            "valid_accuracy_by_lr": [(lr, at[lr]["valid"]["accuracy"]) for lr in at],
            **{metric: mean_and_spread([r["test"][metric] for r in runs]) for metric in METRICS},
            "seconds": mean_and_spread([r["seconds"] for r in runs]),
        }
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


def adapt_and_measure(encoder, task, method, train, bar=None):
    """One run: a copy of the encoder with a new head, adapted, trained, and measured on valid and test.

    Parameters
    ----------
    encoder : Roberta
    task : ClassificationTask
    method : callable
    train : TrainConfig
    bar : str, optional
        What stands beside a progress bar; without it there is none.

    Returns
    -------
    dict
        trainable and head, the numbers that the method and the head train; seconds of training; loss, the mean of the
        last tenth of the steps; valid and test, see `classification_scores`.
    """
    rng = numpy.random.default_rng(train.seed)
    shape = replace(encoder.config, n_classes=len(task.label_names))
    model = RobertaForClassification(shape, rng, encoder=copy.deepcopy(encoder))
    method(model, rng)
    for p in model.head.parameters():
        p.trainable = True
    head = sum(p.data.size for p in model.head.parameters())
    trainer = Trainer(model, lambda rng: task.sample_batch(rng, train.batch_size), train)
    history = trainer.run(bar, progress=bar is not None)
    return {
        "trainable": count_parameters(model).trainable - head,
        "head": head,
        "seconds": history.seconds,
        "loss": mean(history.losses[-max(1, train.steps // 10) :]),
        **{s: classification_scores(task.labels[s], predict(model, task.batches(s, 32))) for s in ("valid", "test")},
    }


def predict(model, batches):
    """The class with the largest logit for each example of the batches, in their order: (n,), on the host."""

    def classes(batch):
        logits, _ = model.forward(*model.place(batch.ids, batch.mask))  # (N, n_classes)
        return to_numpy(logits.argmax(axis=1))

    with one_blas_thread(), ThreadPoolExecutor(cores() if model.xp is numpy else 1) as pool:
        return numpy.concatenate(list(pool.map(classes, batches)))


def mean_and_spread(values):
    """A dict of mean, standard deviation (of a sample: n - 1) and the values, for JSON."""
    return {"mean": mean(values), "std": stdev(values), "values": values}


def report(results):
    """The results as a table in text, best method last, under the command that made them.

    Parameters
    ----------
    results : dict
        From `run`.
    """
    rows = [("", "trainable", "lr", "accuracy, %", "macro-F1, %", "seconds")]
    for name, s in results["baselines"].items():
        scores = (f"{100 * s[metric]:.1f}       " for metric in METRICS)
        rows.append((name, "-", "-", *scores, "-"))
    for name, s in sorted(results["methods"].items(), key=lambda item: item[1]["accuracy"]["mean"]):
        scores = (f"{100 * s[metric]['mean']:.1f} ± {100 * s[metric]['std']:4.1f}" for metric in METRICS)
        rows.append((name, f"{s['trainable']:,}", f"{s['lr']:g}", *scores, f"{s['seconds']['mean']:.0f}"))
    examples = {split: sum(counts.values()) for split, counts in results["examples"].items()}
    n_seeds, head = len(results["config"]["seeds"]), max(s["head"] for s in results["methods"].values())
    return "\n".join(
        [
            *([f"$ {results['command']}", ""] if results["command"] else []),
            f"{results['task']['name']}: {examples['train']:,} examples in train, {examples['valid']:,} in valid, "
            f"{examples['test']:,} in test.",
            f"Test scores as mean ± standard deviation of {n_seeds} seeds; the head's {head:,} are not counted.",
            "",
            *aligned(rows),
        ]
    )


def draw(results, path):
    """Accuracy against trainable parameters, beside the baselines."""
    from minilora import plots

    methods = {
        name: (s["trainable"], [100 * value for value in s["accuracy"]["values"]])
        for name, s in results["methods"].items()
    }
    levels = {name: 100 * scores["accuracy"] for name, scores in results["baselines"].items()}
    plots.save(plots.scores(methods, levels), path)
