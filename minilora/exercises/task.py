"""What an exercise asks for, as functions: which calls are made, what is right there, and which mistakes are known."""

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
        What the student writes, done right.
    calls : callable
        ``calls(rng)``: the calls that are made of these functions, as a list of `Call`. Whatever can be random is.
    mutants : list of (str, dict of str to callable)
        Known mistakes: what one says of a tensor, "Your dA equals ...", and the functions that make it in the place of
        the right ones. Two may say the same, where there are two ways to make the same mistake.
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
    """What functions give at the calls of a task, in this process: for those of the package, and for tests.

    Parameters
    ----------
    task : Task
    functions : dict of str to callable
        The right ones, or those of a mutant.
    seed : int
        Of the calls.

    Returns
    -------
    results : list of Result
        One for each call.
    """
    with numpy.errstate(all="ignore"):
        return perform(functions, task.calls_for(seed))


# ---- for the tables of mutants


def replacing(right: Callable, *names: str) -> Callable:
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


def mistakes_in(function: str, table: dict[str, Callable]) -> list[tuple[str, dict[str, Callable]]]:
    """A table of mutants for a task of one function, from a dict of what one says of it to the wrong function."""
    return [(what, {function: wrong}) for what, wrong in table.items()]


# ---- for the calls


def either(rng: numpy.random.Generator, low: float, high: float) -> float:
    """A number from low to high, or one over such a number: never near 1, where a factor does not show."""
    value = float(rng.uniform(low, high))
    return value if rng.integers(2) else 1.0 / value
