"""A training run as a file, from which it continues to the same numbers as if it had never stopped."""

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from minilora.arrays.backend import Array
from minilora.files import DamagedFile, load_arrays, save_arrays
from minilora.layers.quantized import QuantizedParameter
from minilora.limits import one_line_errors
from minilora.training.history import History
from minilora.training.optimizers import Optimizer

if TYPE_CHECKING:
    from minilora.training.loop import Trainer

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"  # the checkpoint before it
MOST_THREADS = 1024  # the most that a file can request


def save_run(trainer: "Trainer", path: str | Path, *, previous: str | Path | None = None) -> None:
    """Write everything that is needed to continue: parameters, optimizer, generator, step, history.

    Parameters
    ----------
    trainer : Trainer
    path : str or Path
    previous : str or Path, optional
        Where to move the old file at `path`, once the new one has been written.
    """
    about = {
        "kind": "run",
        "config": trainer.configuration,
        "step": trainer.step,
        "updates": {p.name: t for p, t in zip(trainer.optimizer.parameters, trainer.optimizer.updates, strict=True)},
        "rng": trainer.rng.bit_generator.state,
        "history": asdict(trainer.history),
        "device": trainer.device,
        "threads": trainer.threads,
    }
    save_arrays(path, state_arrays(trainer), about, previous=previous)


@one_line_errors()
def resume_run(trainer: "Trainer", path: str | Path) -> None:
    """Restore a Trainer to the state that `save_run` wrote.

    Raises
    ------
    ValueError
        If the run had another configuration or other parameters, or the file is damaged; the trainer is then unchanged.
    """
    arrays, about = load_arrays(path, "run")
    if missing := {"config", "step", "rng", "history"} - about.keys():
        raise DamagedFile(f"{path} lacks {', '.join(sorted(missing))}")
    if differing := differing_settings(about["config"], trainer.configuration):
        raise ValueError(
            f"{path} was made with another configuration; use that one, or another folder; these differ: {differing}"
        )
    targets = state_arrays(trainer)
    if _kinds_of(arrays) != _kinds_of(targets):
        raise ValueError(f"{path} holds other parameters than this model trains")
    try:
        history, state = _history(about["history"], about["step"], trainer.config.steps), _generator_state(about["rng"])
        updates = _updates(about.get("updates"), about["step"], trainer.optimizer)
        threads = _threads(about.get("threads"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedFile(f"{path} has no readable step, history and generator: {error}") from None
    for name, target in targets.items():
        target[...] = trainer.model.xp.asarray(arrays[name])
    trainer.optimizer.steps, trainer.optimizer.updates = about["step"], updates
    trainer.rng.bit_generator.state = state
    trainer.history = history
    if threads and about.get("device") == trainer.device:
        trainer.keep_threads(threads)


def resume_newest(trainer: "Trainer", folder: str | Path) -> Path | None:
    """Restore a Trainer to the newest checkpoint in a folder, or to the one before if that is damaged.

    With several ranks, the first reads it and sends it to the others.

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
        As for `resume_run`; for damage only if both are damaged.

    Warns
    -----
    UserWarning
        If the newest is damaged and the one before it is used.
    """
    ranks = trainer.ranks
    path = ranks.bcast_from_root(lambda: _resume_here(trainer, folder))
    if path and ranks.size > 1:
        optimizer, generator = trainer.optimizer, trainer.rng.bit_generator
        told = ranks.bcast_from_root(
            lambda: (optimizer.steps, optimizer.updates, generator.state, trainer.history, trainer.kept_threads)
        )
        optimizer.steps, optimizer.updates, generator.state, trainer.history, trainer.kept_threads = told
        for array in state_arrays(trainer).values():
            ranks.broadcast(array)
    return path


def _resume_here(trainer: "Trainer", folder: str | Path) -> Path | None:
    """`resume_newest` for a single process."""
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


def remove_checkpoints(folder: str | Path) -> None:
    """Remove the checkpoints of a finished run, if there are any."""
    for name in (CHECKPOINT, PREVIOUS):
        (Path(folder) / name).unlink(missing_ok=True)


CHANGE_NOTHING = ("recompute",)  # settings that leave every number of a run as it is


def differing_settings(saved: Any, asked: dict[str, Any]) -> str:
    """The names of the settings in which two runs differ, as text, such as "lr, settings.rank".

    Parameters
    ----------
    saved : dict
        As read from JSON.
    asked : dict
    """
    if not isinstance(saved, dict):
        return "all"
    saved, asked = _flat(saved), _flat(json.loads(json.dumps(asked)))  # JSON has no tuples
    differing = [name for name in saved.keys() | asked.keys() if saved.get(name) != asked.get(name)]
    return ", ".join(sorted(name for name in differing if name.rpartition(".")[2] not in CHANGE_NOTHING))


def _flat(configuration: dict[str, Any]) -> dict[str, Any]:
    """One dict for a dict of dicts: {"settings": {"rank": 4}} -> {"settings.rank": 4}."""
    flat: dict[str, Any] = {}
    for name, value in configuration.items():
        flat |= {f"{name}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def state_arrays(trainer: "Trainer") -> dict[str, Array]:
    """The arrays of the model and of the optimizer by name; not copies. What is quantised is constant, and left out."""
    parameters = trainer.model.named_parameters()
    arrays = {f"model.{name}": p.data for name, p in parameters if not isinstance(p, QuantizedParameter)}
    for p, state in zip(trainer.optimizer.parameters, trainer.optimizer.state, strict=True):
        arrays |= {f"optimizer.{slot}.{p.name}": array for slot, array in state.items()}
    return arrays


def _kinds_of(arrays: dict[str, Array]) -> dict[str, Any]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _history(saved: Any, step: Any, steps: int) -> History:
    """A History from its JSON form, which must have `step` losses and norms, with `step` at most `steps`."""
    history = History.from_json(saved)
    if type(step) is not int or not 0 <= step <= steps:
        raise ValueError(f"step was {step!r}; the run has {steps} steps")
    if not len(history.losses) == len(history.grad_norms) == step:
        raise ValueError(f"step was {step!r}; the history has {len(history.losses)} losses")
    return history


def _updates(saved: Any, step: int, optimizer: Optimizer) -> list[int]:
    """How often each parameter was updated; at every step, in files of the first versions, which do not say."""
    names = [p.name for p in optimizer.parameters]
    if saved is None:
        return [step] * len(names)
    if not all(type(saved[name]) is int and 0 <= saved[name] <= step for name in names):
        raise ValueError(f"updates must be integers from 0 to {step}")
    return [saved[name] for name in names]


def _threads(saved: Any) -> list[int] | None:
    """The number of threads of each rank; None in files of the first versions."""
    if saved is None:
        return None
    if not (isinstance(saved, list) and saved and all(type(n) is int and 1 <= n <= MOST_THREADS for n in saved)):
        raise ValueError(f"threads must be a list of integers from 1 to {MOST_THREADS}")
    return saved


def _generator_state(saved: Any) -> Any:
    """The state of a generator, checked by setting one to it."""
    trial = numpy.random.default_rng(0).bit_generator
    trial.state = saved
    return trial.state
