"""The run in the process of the student's answers, which has no minilora; what it leaves is not trusted."""

import json
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy

from minilora.arrays.threads import in_browser
from minilora.exercises.capstone.setting import save
from minilora.exercises.runner.capstone import RUN, STEPS, TRAINED, Setting, Trained, adapted
from minilora.exercises.runner.worker import RESULTS
from minilora.exercises.sandbox import ENDED, left_by, run_worker, write_answers
from minilora.exercises.sources import find
from minilora.exercises.tasks import TASKS

COMPUTING = 600  # seconds of processor time: the run takes a tenth of it, on a machine with nothing else to do
WAITING = 1800.0  # seconds of wall-clock time
LOOK = 0.2  # seconds between two looks at how far it is
LARGEST_TRACE = 1_000_000  # numbers; the run leaves some 300 in a step


class Run(NamedTuple):
    """The outcome of the run."""

    trained: Trained | None  # None if something went wrong
    error: str = ""
    function: str = ""  # in which it went wrong; empty if that is not known
    printed: str = ""


def run_answers(answers: dict[str, str], setting: Setting, after: Callable[[int], object] = lambda n: None) -> Run:
    """Train with a student's functions.

    Parameters
    ----------
    answers : dict of str to str
        The source of each of CAPSTONE, and of others that these may import, by the exercise's name.
    setting : Setting
    after : callable
        Is told from time to time how many steps are done.
    """
    if in_browser():
        return Run(None, "It needs a process of its own, and a browser's Python has no other.")
    files = {find(name).file_name: source for name, source in answers.items()}
    functions = {function: find(name).file_name for name in answers for function in TASKS[name].functions}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, outcome = Path(name), []
        write_answers(folder, files)
        save(str(folder / RUN), setting, functions)
        worker = threading.Thread(
            target=lambda: outcome.append(run_worker("capstone", folder, COMPUTING, WAITING)), daemon=True
        )
        worker.start()
        while worker.is_alive():
            worker.join(LOOK)
            after(_steps_done(folder / STEPS, len(setting.batches)))
        printed, stopped = outcome[0] if outcome else ("", ENDED)
        if stopped:
            return Run(None, stopped, printed=printed)
        trained, error, function = left_by(lambda: _read(folder, setting), (None, ENDED, ""))
    return Run(trained, error, function if function in functions else "", printed)


def _steps_done(path, most):
    try:
        return min(path.stat().st_size, most)
    except OSError:
        return 0


def _read(folder, setting):
    """What the worker has left: numbers, as many as there must be; or an error, and in which function."""
    left = json.loads((folder / RESULTS).read_text(encoding="utf-8")[:100_000])
    if left["error"]:
        return None, str(left["error"])[:2000], str(left["function"])
    return trained_from(folder / TRAINED, setting), "", ""


def trained_from(path: Path, setting: Setting) -> Trained:
    """The run's numbers, in the order of `as_numbers`.

    Raises
    ------
    ValueError
        If there are fewer than there must be, or far more.
    """
    steps, shapes = len(setting.batches), shapes_of(setting)
    needed = steps + 1 + sum(r * n for r, n in shapes.values())
    size = path.stat().st_size
    if not 8 * needed <= size <= 8 * (needed + LARGEST_TRACE):
        raise ValueError(f"the run left {size} bytes")
    numbers = numpy.fromfile(path, numpy.float64, needed + LARGEST_TRACE)
    losses, scale, rest = numbers[:steps], float(numbers[steps]), numbers[steps + 1 :]
    arrays = {}
    for name, shape in shapes.items():
        arrays[name], rest = rest[: shape[0] * shape[1]].reshape(shape), rest[shape[0] * shape[1] :]
    return Trained(losses, scale, arrays, rest)


def shapes_of(setting: Setting) -> dict[str, tuple[int, int]]:
    """The shapes of all A and B, by name, in the run's order."""
    shapes, rank = {}, setting.numbers["rank"]
    for name in adapted(setting.weights, setting.numbers):
        O, I = setting.weights[name + ".W"].shape
        shapes |= {f"{name}.A": (rank, I), f"{name}.B": (O, rank)}
    return shapes
