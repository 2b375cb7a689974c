"""What an exercise asks for, as functions: where it is asked, what is right there, and which mistakes are known."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy


class AnswerError(Exception):
    """An answer that cannot be compared; the message says why, to the student."""


@dataclass(frozen=True)
class Task:
    """What an exercise asks for.

    Parameters
    ----------
    functions : dict of str to callable
        What the student writes, as the package has it.
    points : callable
        ``points(rng)``: where the answer is asked, as a dict of a description to the arguments of `answer`.
    answer : callable
        ``answer(f, **point)``, with the functions as the attributes of f: what is compared, as a dict of name to array.
    mutants : dict of str to dict
        Known mistakes: functions that take the place of the right ones, under what one says of a tensor that they
        make, "Your dA equals ...".
    bound : float
        The largest ||answer - right|| / ||right|| that passes; 0 asks for equality to the bit.
    """

    functions: dict[str, Callable]
    points: Callable
    answer: Callable
    mutants: dict[str, dict[str, Callable]]
    bound: float = 1e-9


def run(task, functions, seed):
    """What functions answer at each point of a task.

    Parameters
    ----------
    task : Task
    functions : dict of str to callable
        The student's, the right ones, or those of a mutant.
    seed : int
        Of the points.

    Returns
    -------
    answers : dict of str to (dict of str to ndarray)
        By point and tensor.

    Raises
    ------
    AnswerError
        If an answer is no array of real numbers, or an argument was changed.
    """
    answers = {}
    pristine = task.points(numpy.random.default_rng(seed))
    for where, point in task.points(numpy.random.default_rng(seed)).items():
        answer = task.answer(SimpleNamespace(**functions), **point)
        answers[where] = {name: _as_array(name, value) for name, value in answer.items()}
        for name, value in point.items():
            if isinstance(value, numpy.ndarray) and value.tobytes() != pristine[where][name].tobytes():
                raise AnswerError(f"Your code has changed {name}, which it was given to read. Work on a copy.")
    return answers


def named(function, value, *names):
    """What a function returned, as a dict by the names of what it should return."""
    if len(names) == 1:
        return {names[0]: value}
    if not isinstance(value, tuple):
        got = _a(value)
    elif len(value) != len(names):
        got = f"{len(value)} values"
    else:
        return dict(zip(names, value, strict=True))
    raise AnswerError(f"{function} returned {got}; it should return {len(names)} values: {', '.join(names)}.")


def _as_array(name, value):
    if isinstance(value, (bool, int, float, numpy.ndarray, numpy.generic)):
        array = numpy.asarray(value)
        if array.dtype.kind in "fiub":
            return array
        raise AnswerError(f"{name} has the dtype {array.dtype}; it should hold real numbers.")
    raise AnswerError(f"{name} is {_a(value)}; it should be a NumPy array or a number.")


def _a(value):
    return "None (is a `return` missing?)" if value is None else f"a {type(value).__name__}"


# ---- for the tables of mutants


def replacing(right, *names):
    """Make wrong functions of a right one that returns several values: what a change does not give stays right.

    Parameters
    ----------
    right : callable
    *names : str
        Of the values that it returns.

    Returns
    -------
    make : callable
        ``make(change)`` is the wrong function, where ``change``, given the same arguments, returns a dict of what is
        wrong.
    """

    def make(change):
        def wrong(*arguments):
            values = dict(zip(names, right(*arguments), strict=True))
            return tuple((values | change(*arguments)).values())

        return wrong

    return make


def mistakes_in(function, table):
    """A table of mutants for a task of one function, from a dict of what one says of it to the wrong function."""
    return {what: {function: wrong} for what, wrong in table.items()}
