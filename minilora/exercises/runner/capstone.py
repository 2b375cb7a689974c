"""The main program of the process in which a student's eight answers train LoRA; `capstone/running.py` starts it.

It has the weights, the batches and the settings from `run.npz`, and leaves what came of them as plain numbers in
`trained.bin`, or what went wrong in `results.json`. What is right is known elsewhere.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy

from .answers import earlier_answers, explain, functions_of
from .decoder import PROJECTIONS, Arrays, Batch, Functions, Shape, loss_and_gradients
from .handed_in import RETURNS, InAnswer, guarded
from .worker import forbid, prepare, write_results

RUN, TRAINED, STEPS = "run.npz", "trained.bin", "steps.bin"


class Setting(NamedTuple):
    """Everything that the run is given.

    Parameters
    ----------
    weights : dict of str to ndarray
        Frozen, float64, by the names that minilora's GPT gives them.
    batches : list of Batch
        One for each step.
    rates : ndarray of shape (steps,)
        The learning rate of each step.
    numbers : dict of str to number
        n_layer, n_head, eps, rank, alpha, seed, beta1, beta2, adam_eps, weight_decay.
    """

    weights: Arrays
    batches: Sequence[Batch]
    rates: numpy.ndarray
    numbers: Mapping[str, Any]


class Trained(NamedTuple):
    """What a run gave.

    Parameters
    ----------
    losses : ndarray of shape (steps,)
        Before each step.
    scale : float
    arrays : dict of str to ndarray
        A and B, as they were at the end.
    trace : ndarray
        A number for each tensor that one of the functions has returned, in the order of the calls.
    """

    losses: numpy.ndarray
    scale: float
    arrays: Arrays
    trace: numpy.ndarray


class State(NamedTuple):
    """A run between two steps: A and B, their m and v, and what lora_start gave as the scale."""

    arrays: Arrays
    m: Arrays
    v: Arrays
    scale: float


def adapted(weights: Arrays, numbers: Mapping[str, Any]) -> list[str]:
    """The names of the linear maps that LoRA adapts, in the order in which they are drawn."""
    return [f"blocks.{n}.{name}" for n in range(int(numbers["n_layer"])) for name in PROJECTIONS]


def start(setting: Setting, f: Functions) -> State:
    """A and B before the first step, all drawn by one generator."""
    rng, arrays, scale = numpy.random.default_rng(int(setting.numbers["seed"])), {}, 0.0
    rank, alpha = int(setting.numbers["rank"]), float(setting.numbers["alpha"])
    for name in adapted(setting.weights, setting.numbers):
        O, I = setting.weights[name + ".W"].shape
        arrays[name + ".A"], arrays[name + ".B"], scale = f["lora_start"](O, I, rank, alpha, rng)
    zeros = {name: numpy.zeros(array.shape) for name, array in arrays.items()}
    return State(arrays, zeros, dict(zeros), float(scale))


def step(setting: Setting, state: State, n: int, f: Functions) -> tuple[State, float]:
    """Step number n, from 0; returns the new state, and the loss before the step."""
    numbers = setting.numbers
    shape = Shape(int(numbers["n_layer"]), int(numbers["n_head"]), float(numbers["eps"]), state.scale)
    loss, gradients = loss_and_gradients({**setting.weights, **state.arrays}, setting.batches[n], shape, f)
    names = ("beta1", "beta2", "adam_eps", "weight_decay")
    given = (n + 1, float(setting.rates[n]), *(float(numbers[name]) for name in names))
    moved = {
        name: f["adamw_step"](data, gradients[name], state.m[name], state.v[name], *given)
        for name, data in state.arrays.items()
    }
    arrays, m, v = ({name: parts[i] for name, parts in moved.items()} for i in range(3))
    return State(arrays, m, v, state.scale), loss


def train(
    setting: Setting, f: Functions, trace: list[float], after_step: Callable[[], object] = lambda: None
) -> Trained:
    """The whole run; `trace` is what the functions add to."""
    state, losses = start(setting, f), []
    for n in range(len(setting.batches)):
        state, loss = step(setting, state, n, f)
        losses.append(loss)
        after_step()
    return Trained(numpy.array(losses), state.scale, state.arrays, numpy.array(trace))


def as_numbers(trained: Trained) -> numpy.ndarray:
    """All of it in one row of float64."""
    parts = (trained.losses, numpy.array(trained.scale), *trained.arrays.values(), trained.trace)
    return numpy.concatenate([numpy.asarray(part, numpy.float64).ravel() for part in parts])


def functions_in_files(files: Mapping[str, str], trace: list[float]) -> Functions:
    """The student's functions, guarded; each file is run once."""
    f = {}
    for path in dict.fromkeys(files[name] for name in RETURNS):
        names = [name for name in RETURNS if files[name] == path]
        try:
            defined = functions_of(names, path)
        except BaseException as problem:
            raise InAnswer(names[0], explain(problem)) from problem
        f |= {name: guarded(name, function, trace) for name, function in defined.items()}
    return f


def setting_from(path: str) -> Setting:
    """What `capstone/running.py` has written."""
    with numpy.load(path, allow_pickle=False) as file:
        held = dict(file)
    weights = {name[2:]: held[name].astype(numpy.float64) for name in held if name.startswith("W:")}
    batches = [Batch(*(held[f"{part}:{n}"] for part in Batch._fields)) for n in range(len(held["rates"]))]
    return Setting(weights, batches, held["rates"], json.loads(str(held["numbers"])))


def main(seconds: int, python: list[str]) -> None:
    """Run the answers, within a number of seconds of processor time. Never returns."""
    end, write, results = os._exit, write_results, {"error": "", "function": ""}
    prepare(seconds)
    setting = setting_from(RUN)
    files = {str(name): str(path) for name, path in setting.numbers["files"].items()}
    progress = open(STEPS, "ab", buffering=0)
    forbid(python)
    trace: list[float] = []
    try:
        earlier_answers(files)
        trained = train(setting, functions_in_files(files, trace), trace, lambda: progress.write(b"."))
        as_numbers(trained).tofile(TRAINED)
    except InAnswer as problem:
        results = {"error": str(problem), "function": problem.function}
    except BaseException as problem:
        results["error"] = explain(problem)
    write(results)
    end(0)
