"""Where two runs part, and which function parts them."""

from typing import NamedTuple

import numpy

from minilora.exercises.capstone.reference import Reference
from minilora.exercises.runner.capstone import Setting, State, Trained, start, step
from minilora.exercises.runner.handed_in import RETURNS, guarded, print_of
from minilora.exercises.tasks import TASKS

BOUND = 1e-6  # relative: of rounding, AdamW's division makes 1e-10 or so in a hundred steps
BOUND_OF_CALL = 1e-7  # relative to the tensor's norm
RIGHT = {name: f for task in TASKS.values() for name, f in task.functions.items() if name in RETURNS}


class Parting(NamedTuple):
    """The first call that gave something else than the right function does."""

    function: str
    tensor: str  # what it returned, by name
    step: int  # from 1; 0 is the start
    state: State | None  # of the right run before this step


def error_of_arrays(trained: Trained, reference: Reference) -> float:
    """The largest ||student's - minilora's|| / ||minilora's|| among all A and B at the end; infinite if not finite."""
    errors = []
    for name, right in reference.arrays.items():
        error = numpy.linalg.norm(trained.arrays[name] - right) / numpy.linalg.norm(right)
        errors.append(float(error) if numpy.isfinite(error) else numpy.inf)
    return max(errors)


def first_wrong_loss(trained: Trained, reference: Reference) -> int | None:
    """The first step, from 0, whose loss before it is not minilora's; None if all are."""
    wrong = ~(numpy.abs(trained.losses - reference.losses) <= BOUND * numpy.abs(reference.losses))  # nan is wrong
    return int(numpy.argmax(wrong)) if wrong.any() else None


def parting(trained: Trained, setting: Setting, last: int) -> Parting | None:
    """Repeat the run with the right functions, and compare call by call with what the student's has left.

    Parameters
    ----------
    trained : Trained
    setting : Setting
    last : int
        The last step to repeat, from 0.

    Returns
    -------
    Parting or None
        None if no call up to then differs.
    """
    trace: list[tuple[str, str, float, float]] = []  # function, tensor, print, norm
    f = {name: guarded(name, noting(name, right, trace), []) for name, right in RIGHT.items()}
    with numpy.errstate(all="ignore"):
        state = start(setting, f)
        if (call := first_difference(trained.trace, trace, 0)) is not None:
            return Parting(*trace[call][:2], 0, None)
        for n in range(min(last + 1, len(setting.batches))):
            before, compared = state, len(trace)
            state, _ = step(setting, state, n, f)
            if (call := first_difference(trained.trace, trace, compared)) is not None:
                return Parting(*trace[call][:2], n + 1, before)
    return None


def noting(name, right, trace):
    """The right function, which notes of all that it returns what the student's run has noted, and the norm."""
    names, shapes_of = RETURNS[name]

    def call(*arguments):
        values = right(*arguments)
        for tensor, value, shape in zip(
            names, values if len(names) > 1 else (values,), shapes_of(*arguments), strict=True
        ):
            if shape is not None:
                array = numpy.asarray(value, numpy.float64)
                trace.append((name, tensor, print_of(array), float(numpy.linalg.norm(array))))
        return values

    return call


def first_difference(left: numpy.ndarray, trace: list[tuple[str, str, float, float]], compared: int) -> int | None:
    """The first number from number `compared` on that the student's run has not left, or has left otherwise."""
    for i in range(compared, len(trace)):
        _, _, right, norm = trace[i]
        if i >= len(left) or not abs(left[i] - right) <= BOUND_OF_CALL * max(norm, 1e-12):
            return i
    return None
