"""What an exercise asks for, as functions: which calls are made, what is right, and which mistakes are known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy

from minilora.exercises.runner.calls import Call, Result, perform


@dataclass(frozen=True)
class Task:
    """What an exercise asks for.

    Parameters
    ----------
    functions : dict of str to callable
        The right versions of what the student writes.
    calls : callable
        ``calls(rng)``: the calls to make of these functions, as a list of `Call`. Everything that can be random is.
    mutants : list of (str, dict of str to callable)
        Known mistakes: the end of the sentence "Your dA equals ...", and the functions that make the mistake, in place
        of the right ones. Two may share a sentence, if there are two ways to make the same mistake.
    bound : float
        The largest ||answer - right|| / ||right|| that passes.
    exact : tuple of str
        Tensors that must be equal to the bit.
    whole : tuple of str
        Results that must be an int.
    """

    functions: dict[str, Callable]
    calls: Callable[[numpy.random.Generator], list[Call]]
    mutants: list[tuple[str, dict[str, Callable]]]
    bound: float = 1e-9
    exact: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    def calls_for(self, seed: int) -> list[Call]:
        """The calls that a seed gives."""
        return self.calls(numpy.random.default_rng(seed))


def run(task: Task, functions: dict[str, Callable], seed: int) -> list[Result]:
    """Make a task's calls in this process: for the package's own functions, and for tests.

    Parameters
    ----------
    task : Task
    functions : dict of str to callable
        The right functions, or those of a mutant.
    seed : int
        The seed of the calls.

    Returns
    -------
    results : list of Result
        One for each call.
    """
    with numpy.errstate(all="ignore"):
        return perform(functions, task.calls_for(seed))


# ---- for the tables of mutants


def replacing(right: Callable, *names: str) -> Callable:
    """Make wrong versions of a function that returns several values: values that a change does not give stay right.

    Parameters
    ----------
    right : callable
    *names : str
        Names of the values that it returns.

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


def mistakes_in(function: str, table: dict[str, Callable]) -> list[tuple[str, dict[str, Callable]]]:
    """A table of mutants for a task of one function, from a dict of descriptions to wrong functions."""
    return [(what, {function: wrong}) for what, wrong in table.items()]


# ---- for the calls


def either(rng: numpy.random.Generator, low: float, high: float) -> float:
    """A number from low to high, or its reciprocal: never near 1, where a missing factor would not show."""
    value = float(rng.uniform(low, high))
    return value if rng.integers(2) else 1.0 / value
