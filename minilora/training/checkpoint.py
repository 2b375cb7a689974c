"""A training run as a file, from which it can be continued to the same numbers as if nothing had happened."""

import json
from dataclasses import asdict

from minilora.files import load_arrays, save_arrays

CHECKPOINT = "checkpoint.safetensors"


def save_run(trainer, path):
    """Write everything that continuing needs: parameters, optimizer, generator, step, history.

    Parameters
    ----------
    trainer : Trainer
    path : str or Path
    """
    about = {
        "kind": "run",
        "config": _configuration(trainer),
        "step": trainer.step,
        "rng": trainer.rng.bit_generator.state,
        "history": asdict(trainer.history),
    }
    save_arrays(path, _arrays(trainer), about)


def resume_run(trainer, path):
    """Put a Trainer in the state that `save_run` wrote.

    Raises
    ------
    ValueError
        If the run had another configuration or other parameters; the trainer is unchanged.
    """
    arrays, about = load_arrays(path, "run")
    if missing := {"config", "step", "rng", "history"} - about.keys():
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
    saved, asked = about["config"], json.loads(json.dumps(_configuration(trainer)))
    if saved != asked:
        changed = ", ".join(sorted(k for k in saved.keys() | asked.keys() if saved.get(k) != asked.get(k)))
        raise ValueError(f"{path} was made with another configuration; these differ: {changed}")
    targets = _arrays(trainer)
    if {k: a.shape for k, a in arrays.items()} != {k: a.shape for k, a in targets.items()}:
        raise ValueError(f"{path} holds other parameters than this model trains")
    for name, target in targets.items():
        target[...] = trainer.model.xp.asarray(arrays[name])
    trainer.optimizer.steps = about["step"]
    trainer.rng.bit_generator.state = about["rng"]
    for field, value in about["history"].items():
        setattr(trainer.history, field, value)
    trainer.history.validation = [(step, loss) for step, loss in trainer.history.validation]  # JSON has no tuples


def _configuration(trainer):
    return {**trainer.about, **asdict(trainer.config)}


def _arrays(trainer):
    """The arrays of the state itself, not copies, by name."""
    arrays = {f"model.{name}": p.data for name, p in trainer.model.named_parameters()}
    for p, state in zip(trainer.optimizer.parameters, trainer.optimizer.state, strict=True):
        arrays |= {f"optimizer.{slot}.{p.name}": array for slot, array in state.items()}
    return arrays
