"""One adaptation of the bundled decoder, trained and measured: the unit of the sweeps over the decoder's tasks."""

import functools
import math
from dataclasses import dataclass
from statistics import mean

import numpy

from minilora.accounting import count_parameters
from minilora.data import load_task
from minilora.experiments.finetune import FinetuneConfig
from minilora.experiments.measure import measure
from minilora.experiments.sweep import produces_file
from minilora.methods import apply_method, load_adapter, save_adapter
from minilora.models import load_bundled
from minilora.training import Diverged, Trainer, evaluate_loss

HELD_OUT = 96  # examples in valid, and in test
task_of = functools.cache(load_task)  # a process adapts to the same task many times


@dataclass(frozen=True)
class StartingElsewhere(FinetuneConfig):
    """An adaptation whose new parameters, such as A, are drawn from another seed than its batches."""

    start_seed: int = 0


def starting_elsewhere(config, start_seed):
    """A FinetuneConfig's batches and all else, and other random numbers in what the method adds."""
    return StartingElsewhere(config.task, config.method, config.settings, config.train, start_seed)


@produces_file(".safetensors")
def adapt_and_keep(config, path):
    """Adapt the bundled decoder, measure it on valid and test, and write what was learned to a file.

    Parameters
    ----------
    config : FinetuneConfig
    path : Path
        The file, for `load_adapter`.

    Returns
    -------
    dict
        trainable; seconds and tokens of training; loss, the mean of the last tenth of the steps; valid, the loss there;
        and test, what `measure` returns. Losses are in nats per byte. If training diverged, these three are None.
    """
    model, task, trainer = decoder_trainer(config)
    loss = valid = test = None
    try:
        losses = trainer.run(progress=False).losses
        valid = evaluate_loss(model, task.batches("valid"))
        if math.isfinite(valid):
            loss, test = mean(losses[-max(1, len(losses) // 10) :]), measure(model, task, n_prompts=HELD_OUT)
    except Diverged:
        pass
    save_adapter(model, path)
    return {
        "trainable": count_parameters(model).trainable,
        "seconds": trainer.history.seconds,
        "tokens": trainer.history.tokens,
        "loss": loss,
        "valid": valid if loss is not None else None,
        "test": test,
    }


def adapted_decoder(sweep, config):
    """The bundled decoder as a run of `adapt_and_keep` left it.

    Parameters
    ----------
    sweep : Sweep
        The sweep that has that run.
    config : FinetuneConfig

    Returns
    -------
    GPT
    """
    model = load_bundled("decoder")
    load_adapter(model, sweep.file_of(adapt_and_keep, config))
    return model


def decoder_trainer(config):
    """What a FinetuneConfig needs: the bundled decoder with the method applied, the task, and a Trainer."""
    model = load_bundled("decoder")
    task = task_of(config.task, length=model.longest_input, n_held_out=HELD_OUT)
    start_seed = config.start_seed if isinstance(config, StartingElsewhere) else config.train.seed
    apply_method(model, config.settings, rng=numpy.random.default_rng(start_seed))
    return model, task, Trainer(model, lambda rng: task.sample_batch(rng, config.train.batch_size), config.train)


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
