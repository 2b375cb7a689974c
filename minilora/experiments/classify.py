"""One method on a classification task: an encoder with a new head, adapted, trained, and measured.

The head is new and is trained by every method; as in the paper, it is not counted as the method's.
"""

import functools
import math
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import numpy

from minilora.accounting import count_parameters
from minilora.data import check_vocabulary, load_classification_task
from minilora.experiments.finetune import start_batches
from minilora.experiments.measure import measure_classes
from minilora.methods import apply_method
from minilora.models import load_bundled, load_model, new_classifier
from minilora.training import Diverged, TrainConfig, Trainer


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
    n_held_out : int, optional
        The most examples of valid, and of test, to measure on; all, if not given.
    """

    task: str
    method: Any
    train: TrainConfig
    encoder: str | None = None
    device: str = "cpu"
    n_held_out: int | None = None


def train_and_measure(settings, bar=None):
    """One run: the encoder with a new head, adapted, trained, and measured on valid and test.

    Parameters
    ----------
    settings : ClassifyRun
    bar : str, optional
        What a progress bar is labelled with; without it, none is shown.

    Returns
    -------
    dict, for JSON
        trainable and head, the numbers that the method and the head train; seconds of training; diverged, which is None
        or says how the loss became infinite; loss, the mean of the last tenth of the steps; valid and test, see
        `measure_classes`. If the run diverged, these three are None.
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
    length = encoder.longest_input
    task = task_of(settings.task, length, settings.n_held_out)
    check_vocabulary(encoder, task.tokenizer)
    rng = numpy.random.default_rng(settings.train.seed)
    model = new_classifier(encoder, len(task.label_names), rng)
    apply_method(model, settings.method, rng=rng, batches=start_batches(task, settings.method, settings.train))
    if model.longest_input < length:  # a prefix takes some of the positions
        task = task_of(settings.task, model.longest_input, settings.n_held_out)
    return model, task


@functools.cache  # a process trains on the same task many times
def task_of(name, length, n_held_out=None):
    """The task of a name, measured on at most n_held_out examples of valid and of test, spread over all of them.

    They are sorted by length, to keep padding small.
    """
    task = load_classification_task(name, length=length)
    measured = {}
    for split in ("valid", "test"):
        examples = task.splits[split]
        every = 1 if n_held_out is None else math.ceil(len(examples) / n_held_out)
        measured[split] = sorted(examples[::every], key=lambda e: len(e.text) + len(e.second or ""))
    return replace(task, splits={**task.splits, **measured})


def open_encoder(file, device):
    """The model in a file, or the bundled encoder."""
    return load_bundled("encoder", device=device) if file is None else load_model(file, device=device)


def finite_scores(model, task):
    """The scores on valid and test; raises `Diverged` if the weights after the last step are not finite."""
    scores = {split: measure_classes(model, task, split=split) for split in ("valid", "test")}
    for split, of_split in scores.items():
        if not math.isfinite(of_split["loss"]):
            raise Diverged(f"the loss on {split} was {of_split['loss']} after the last step")
    return scores
