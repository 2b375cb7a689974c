"""One adaptation of a decoder, trained and measured: the unit of the sweeps over its tasks."""

import functools
import math
from dataclasses import dataclass, field
from statistics import mean

import numpy

from minilora.accounting import count_parameters
from minilora.arrays.finite import not_finite
from minilora.data import load_task
from minilora.experiments.finetune import FinetuneConfig, start_batches
from minilora.experiments.measure import measure
from minilora.experiments.sweep import produces_file
from minilora.experiments.targets import with_all_linear
from minilora.interop.opening import open_language_model
from minilora.interop.tokenizer import load_tokenizer
from minilora.methods import apply_method, load_adapter, save_adapter
from minilora.training import Diverged, Trainer, evaluate_loss

HELD_OUT = 96  # examples in valid, and in test


@dataclass(frozen=True)
class DecoderRun(FinetuneConfig):
    """One training of one method: all that makes it this run and no other, so that any process can do it.

    Parameters
    ----------
    model : str
        A decoder, see `open_language_model`. It is not in the run's repr, by which a sweep knows it: where a folder
        lies makes no difference, and what is in it is in the sweep's `environment`.
    n_held_out : int
        How many examples there are in valid, and in test; as many answers are written to test's prompts.
    start_seed : int, optional
        Draws what the method adds, such as A; `train.seed` if not given, which always draws the batches.
    """

    model: str = field(default="decoder", repr=False)
    n_held_out: int = HELD_OUT
    start_seed: int | None = None

    def optimizer(self, model):
        """What trains the model; None: what suits its method."""
        return None


@functools.cache
def task_of(name, *, length, n_held_out=HELD_OUT, source=None):
    """The task of a name, of which a process reads the same one many times.

    Parameters
    ----------
    name : str
        See `load_task`.
    length, n_held_out : int
    source : str, optional
        Where the tokenizer is, see `OpenedModel`; bytes, if not given.
    """
    tokenizer = None if source is None else load_tokenizer(source)
    return load_task(name, length=length, n_held_out=n_held_out, tokenizer=tokenizer)


@produces_file(".safetensors")
def adapt_and_keep(config, path):
    """Adapt a decoder, measure it on valid and test, and write what was learned to a file.

    Parameters
    ----------
    config : DecoderRun
    path : Path
        The file, for `load_adapter`.

    Returns
    -------
    dict
        trainable; seconds and tokens of training; loss, the mean of the last tenth of the steps, in nats per token;
        valid, the loss there, in nats per byte, so that models of different tokens can be compared; and test, what
        `measure` returns. If training diverged, these three are None.
    """
    model, task, trainer = decoder_trainer(config)
    loss = valid = test = None
    try:
        losses = trainer.run(progress=False).losses
        valid = evaluate_loss(model, task.batches("valid")) / task.bytes_per_token("valid")
        if math.isfinite(valid):
            loss, test = mean(losses[-max(1, len(losses) // 10) :]), measure(model, task, n_prompts=config.n_held_out)
    except Diverged:
        pass
    save_unless_infinite(model, path)
    return {
        "trainable": count_parameters(model).trainable,
        "seconds": trainer.history.seconds,
        "tokens": trainer.history.tokens,
        "loss": loss,
        "valid": valid if loss is not None else None,
        "test": test,
    }


def save_unless_infinite(model, path):
    """Write what was learned, or an empty file if training ended in infinities: a sweep expects one."""
    if not_finite({name: p.data for name, p in model.named_parameters() if p.trainable}):
        path.touch()
    else:
        save_adapter(model, path)


def adapted_decoder(sweep, config):
    """A decoder as a run of `adapt_and_keep` left it.

    Parameters
    ----------
    sweep : Sweep
        The sweep that has that run.
    config : DecoderRun

    Returns
    -------
    Decoder
    """
    model = open_language_model(config.model).model
    load_adapter(model, sweep.file_of(adapt_and_keep, config))
    return model


def base_and_task(config):
    """The decoder of a DecoderRun as it is, and the task, in the decoder's tokens."""
    opened = open_language_model(config.model)
    length = opened.model.longest_input
    return opened.model, task_of(config.task, length=length, n_held_out=config.n_held_out, source=opened.source)


def decoder_trainer(config):
    """What a DecoderRun needs: the decoder with the method applied, the task, and a Trainer."""
    model, task = base_and_task(config)
    settings = with_all_linear(config.settings, model)
    start_seed = config.train.seed if config.start_seed is None else config.start_seed
    batches = start_batches(task, settings, config.train)
    apply_method(model, settings, rng=numpy.random.default_rng(start_seed), batches=batches)
    trainer = Trainer(
        model,
        lambda rng: task.sample_batch(rng, config.train.batch_size),
        config.train,
        optimizer=config.optimizer(model),
    )
    return model, task, trainer


def watch(trainer, steps, look):
    """Train, and inspect the model on the way.

    Parameters
    ----------
    trainer : Trainer
    steps : sequence of int
        After how many steps: from 0, before the first, to one less than the number of steps.
    look : callable
        ``look(batch)``, with the batch of the step that follows.

    Returns
    -------
    dict of int to object
        What `look` has returned, by step.
    """
    looks, sample = {}, trainer.sample_batch

    def sample_and_look(rng):
        batch = sample(rng)
        if trainer.step in steps:
            looks[trainer.step] = look(batch)
        return batch

    trainer.sample_batch = sample_and_look
    trainer.run(progress=False)
    return looks
