"""Shared by the experiments on the encoder's tasks: one way to train, so that they share runs."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from minilora.data import load_classification_task
from minilora.experiments.baselines import baselines
from minilora.experiments.classify import ClassifyRun, train_and_measure
from minilora.experiments.comparison import best_of_rates, check_seeds, mean_and_spread, plus_minus
from minilora.methods import LoRAConfig
from minilora.models import load_bundled
from minilora.training import TrainConfig

METRICS = ("accuracy", "macro_f1")
COLUMNS = ("accuracy", "macro-F1")  # as a table calls them

# Learning rates, the usual one first: where the pretrained matrices themselves are changed, and where what is changed
# is new, or small.
FOR_MATRICES = (1e-3, 3e-4, 3e-3)
FOR_NEW = (3e-3, 1e-2, 1e-3)

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALPHA = 8  # at every rank, as the paper's RoBERTa base has it


class Trial(NamedTuple):
    """A method, and the learning rates to try, the usual one first.

    Attributes
    ----------
    method : dataclass
        A configuration, such as a LoRAConfig.
    rates : tuple of float
    """

    method: Any
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Training:
    """How each method is trained on each task.

    Parameters
    ----------
    tasks : sequence of str
        See `minilora.data.load_classification_task`.
    steps, batch_size : int
    seeds : sequence of int
        At least two; each draws the head, what a method adds, and the batches.
    n_rates : int
        How many of its learning rates to try for each method.
    n_held_out : int, optional
        The most examples of valid, and of test, to measure on; all, if not given.
    """

    tasks: tuple[str, ...] = ("unicode-names",)
    steps: int = 600
    batch_size: int = 8
    seeds: tuple[int, ...] = (0, 1, 2)
    n_rates: int = 3
    n_held_out: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "seeds", check_seeds(tuple(self.seeds)))
        if not self.tasks or isinstance(self.tasks, str):
            raise ValueError(f"tasks was {self.tasks!r}; it must be several names, such as ('unicode-names',)")
        if self.n_rates not in (1, 2, 3):
            raise ValueError(f"n_rates was {self.n_rates!r}; it must be 1, 2 or 3")

    def run_of(self, task, trial):
        """The settings of a trial's runs on a task, except lr and seed."""
        train = TrainConfig(self.steps, self.batch_size, threads=1)
        return ClassifyRun(task, trial.method, train, n_held_out=self.n_held_out)


# Until a method passes naive Bayes, which sees all of train, and with seeds enough to tell.
LONG = Training(steps=3600, batch_size=16, seeds=(0, 1, 2, 3, 4))
TWO_RATES = Training(steps=1200, batch_size=16, n_rates=2)  # where there are many settings to train
HERE = "the bundled encoder"  # in what is said about an experiment
QUICK = Training(steps=3, batch_size=2, seeds=(0, 1), n_rates=1, n_held_out=16)


@dataclass(frozen=True)
class TaskSettings:
    """Which task; see `minilora.data.load_classification_task`."""

    task: str


def describe_task(settings):
    """How many examples of a task are in each split, the corpus's id, and what the baselines reach on test."""
    task = load_classification_task(settings.task, length=load_bundled("encoder").longest_input)
    examples = {split: len(labels) for split, labels in task.labels.items()}
    return {"examples": examples, "id": task.id, "baselines": baselines(task)}


def lora(rank, targets, rates=FOR_NEW):
    """LoRA as a Trial."""
    return Trial(LoRAConfig(rank=rank, alpha=ALPHA, targets=targets), rates)


def compare(sweep, training, trials):
    """Each trial on each task, at the best of its rates.

    Parameters
    ----------
    sweep : Sweep
    training : Training
    trials : dict of str to Trial
        By label.

    Returns
    -------
    dict, for JSON
        By task: what `describe_task` returns, and under "methods", by label, what `summary` returns.
    """
    keys = {f"{label}, {task}": (task, label) for task in training.tasks for label in trials}
    settings = {key: training.run_of(task, trials[label]) for key, (task, label) in keys.items()}
    rates = {key: trials[label].rates[: training.n_rates] for key, (_, label) in keys.items()}
    found = best_of_rates(
        sweep, train_and_measure, settings, rates, seeds=training.seeds, score=valid_accuracy, model="encoder"
    )
    about = sweep(describe_task, list(map(TaskSettings, training.tasks)), model="encoder")
    results = {task: {**task_results, "methods": {}} for task, task_results in zip(training.tasks, about, strict=True)}
    for key, (task, label) in keys.items():
        results[task]["methods"][label] = summary(found[key])
    return results


def valid_accuracy(run):
    """A run's score on valid; None if it diverged."""
    return None if run["diverged"] else run["valid"]["accuracy"]


def summary(found):
    """The results of a method on a task, for JSON.

    Parameters
    ----------
    found : dict
        From `best_of_rates`.

    Returns
    -------
    dict
        trainable and head, the numbers of parameters of the method and the head; lr and valid_by_lr; mean and spread
        over the seeds of accuracy and macro_f1 on test.
    """
    runs = found["runs"]
    return {
        **{key: runs[0][key] for key in ("trainable", "head")},
        **{key: found[key] for key in ("lr", "valid_by_lr")},
        **{metric: mean_and_spread([run["test"][metric] for run in runs]) for metric in METRICS},
    }


def scores(row):
    """Accuracy and macro-F1 of a row, as text in percent."""
    return tuple(plus_minus(row[metric], factor=100) for metric in METRICS)


def baseline_row(row):
    """Accuracy and macro-F1 of a baseline as text in percent, aligned with the means of `scores`; it has no seeds."""
    return tuple(f"{100 * row[metric]:.1f}      " for metric in METRICS)


def heading(task, task_results):
    """The lines above a task's table."""
    levels = (f"{label} {100 * row['accuracy']:.1f}" for label, row in task_results["baselines"].items())
    sizes = (f"{n:,} examples in {split}" for split, n in task_results["examples"].items())
    return [f"{task}: {', '.join(sizes)}", f"accuracy without a network: {'; '.join(levels)}", ""]


def footnotes(results):
    """The notes below every table."""
    tasks = list(results["tasks"].values())
    rows = tasks[0]["methods"]
    heads = " and ".join(f"{next(iter(task_results['methods'].values()))['head']:,}" for task_results in tasks)
    n_seeds = len(next(iter(rows.values()))["accuracy"]["values"])
    tried = {}
    for label, row in rows.items():
        tried.setdefault(", ".join(f"{lr:g}" for lr in sorted(lr for lr, _ in row["valid_by_lr"])), []).append(label)
    most, *fewer = sorted(tried, key=lambda rates: -len(tried[rates]))
    return [
        f"Scores on test, in percent: mean ± standard deviation of {n_seeds} seeds. The head's {heads} parameters,",
        "which every method trains, are not counted.",
        f"lr: the best on valid, with the first seed, of {most} (*: the lowest or highest of those tried)",
        *(f"    and of {rates} for {'; '.join(tried[rates])}" for rates in fewer),
        *(line for task, task_results in results["tasks"].items() for line in what_failed(task, task_results)),
    ]


def what_failed(task, task_results):
    """A line if a baseline beats all methods, and one for each method with seeds that learned nothing."""
    levels = {label: row["accuracy"] for label, row in task_results["baselines"].items()}
    highest = max(levels, key=levels.get)
    if task_results["methods"][best(task_results["methods"])]["accuracy"]["mean"] < levels[highest]:
        yield f"No method reaches {highest} on {task}, which has seen all of train, in these steps."
    nothing = levels["majority class"] + 0.005
    for label, row in task_results["methods"].items():
        values = row["accuracy"]["values"]
        stayed = f"{sum(value < nothing for value in values)} of {len(values)} seeds"
        if min(values) < nothing:
            yield f"{label}: {stayed} stayed at the most frequent class of {task}, at {row['lr']:g}."


def best(rows, labels=None):
    """The label of the row with the highest mean accuracy."""
    return max(labels or rows, key=lambda label: rows[label]["accuracy"]["mean"])


def score_panels(results, levels=True):
    """The accuracies in percent for `plots.scores`, a panel for each task, with or without the baselines' lines."""
    panels = {}
    for task, task_results in results["tasks"].items():
        methods = {
            label: (row["trainable"], [100 * value for value in row["accuracy"]["values"]])
            for label, row in task_results["methods"].items()
        }
        lines = {label: 100 * row["accuracy"] for label, row in task_results.get("baselines", {}).items()}
        panels[task] = (methods, lines if levels else {})
    return panels
