"""A training run as a file, from which it can be continued to the same numbers as if nothing had happened."""

import json
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy

from minilora.files import DamagedFile, load_arrays, save_arrays
from minilora.limits import one_line_errors
from minilora.training.history import History

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"  # the one before it


def save_run(trainer, path, *, previous=None):
    """Write everything that continuing needs: parameters, optimizer, generator, step, history.

    Parameters
    ----------
    trainer : Trainer
    path : str or Path
    previous : str or Path, optional
        Where the file goes that was at `path`, once the new one has been written.
    """
    about = {
        "kind": "run",
        "config": trainer.configuration,
        "step": trainer.step,
        "rng": trainer.rng.bit_generator.state,
        "history": asdict(trainer.history),
    }
    save_arrays(path, state_arrays(trainer), about, previous=previous)


@one_line_errors()
def resume_run(trainer, path):
    """Put a Trainer in the state that `save_run` wrote.

    Raises
    ------
    ValueError
        If the run had another configuration or other parameters, or the file is damaged; the trainer is unchanged.
    """
    arrays, about = load_arrays(path, "run")
    if missing := {"config", "step", "rng", "history"} - about.keys():
        raise DamagedFile(f"{path} lacks {', '.join(sorted(missing))}")
    if differing := differing_settings(about["config"], trainer.configuration):
        raise ValueError(
            f"{path} was made with another configuration; take that one, or another folder; these differ: {differing}"
        )
    targets = state_arrays(trainer)
    if _kinds_of(arrays) != _kinds_of(targets):
        raise ValueError(f"{path} holds other parameters than this model trains")
    try:
        history, state = _history(about["history"], about["step"]), _generator_state(about["rng"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedFile(f"{path} has no step, history and generator that can be read: {error}") from None
    for name, target in targets.items():
        target[...] = trainer.model.xp.asarray(arrays[name])
    trainer.optimizer.steps = about["step"]
    trainer.rng.bit_generator.state = state
    trainer.history = history


def resume_newest(trainer, folder):
    """The same with the newest checkpoint in a folder, or the one before it where the newest is missing or damaged.

    Of several ranks, the first reads it and tells the others.

    Parameters
    ----------
    trainer : Trainer
    folder : str or Path

    Returns
    -------
    path : Path or None
        The file; None if the folder has none.

    Raises
    ------
    ValueError
        As `resume_run` does; for damage only if both are damaged.

    Warns
    -----
    UserWarning
        If the newest is damaged, and the one before it is used.
    """
    ranks = trainer.ranks
    path = ranks.from_first(lambda: _resume_here(trainer, folder))
    if path and ranks.size > 1:
        told = ranks.from_first(lambda: (trainer.step, trainer.rng.bit_generator.state, trainer.history))
        trainer.optimizer.steps, trainer.rng.bit_generator.state, trainer.history = told
        for array in state_arrays(trainer).values():
            ranks.broadcast(array)
    return path


def _resume_here(trainer, folder):
    """The same by this process alone."""
    there = [path for path in (Path(folder) / CHECKPOINT, Path(folder) / PREVIOUS) if path.exists()]
    for path in there:
        try:
            resume_run(trainer, path)
            return path
        except DamagedFile as error:
            if path == there[-1]:
                raise
            warnings.warn(f"{error}; continuing from the checkpoint before it", stacklevel=5)
    return None


def remove_checkpoints(folder):
    """Remove both checkpoints of a run that is finished, if there are any."""
    for name in (CHECKPOINT, PREVIOUS):
        (Path(folder) / name).unlink(missing_ok=True)


def differing_settings(saved, asked):
    """The names of the settings in which two configurations differ, as text: "lr, settings.rank".

    Parameters
    ----------
    saved : dict
        As read from JSON.
    asked : dict
    """
    if not isinstance(saved, dict):
        return "all"
    saved, asked = _flat(saved), _flat(json.loads(json.dumps(asked)))  # JSON has no tuples
    return ", ".join(sorted(k for k in saved.keys() | asked.keys() if saved.get(k) != asked.get(k)))


def _flat(configuration):
    """One dict for a dict of dicts: {"settings": {"rank": 4}} -> {"settings.rank": 4}."""
    flat = {}
    for name, value in configuration.items():
        flat |= {f"{name}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def state_arrays(trainer):
    """The arrays of the model and of the optimizer by name; themselves, not copies."""
    arrays = {f"model.{name}": p.data for name, p in trainer.model.named_parameters()}
    for p, state in zip(trainer.optimizer.parameters, trainer.optimizer.state, strict=True):
        arrays |= {f"optimizer.{slot}.{p.name}": array for slot, array in state.items()}
    return arrays


def _kinds_of(arrays):
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _history(saved, step):
    """A History of what JSON made of one: `step` losses and norms, all of them numbers."""
    history = History(**saved)
    history.losses, history.grad_norms = [float(x) for x in history.losses], [float(x) for x in history.grad_norms]
    history.validation = [(int(at), float(loss)) for at, loss in history.validation]
    history.seconds, history.tokens = float(history.seconds), int(history.tokens)
    if isinstance(step, bool) or not len(history.losses) == len(history.grad_norms) == step:
        raise ValueError(f"step was {step!r}; the history has {len(history.losses)} losses")
    return history


def _generator_state(saved):
    """The state of a generator, after it has been tried on one."""
    trial = numpy.random.default_rng(0).bit_generator
    trial.state = saved
    return trial.state
