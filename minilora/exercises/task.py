"""What an exercise asks for, as functions: which calls are made, what is right, and which mistakes are known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from minilora.exercises.runner.calls import Call, Kept, Partial, Result, perform


class Slopes(NamedTuple):
    """Gradients that a student's own gradient check can look at.

    Parameters
    ----------
    calls : list of Call
        The last is the backward's, with `dy` for its upstream gradient; those before it make its cache.
    dy : ndarray or float
    of : dict of str to Partial
        By the gradient's name: the forward, as a function of what the gradient belongs to.
    """

    calls: list[Call]
    dy: Any
    of: dict[str, Partial]


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
    slopes : callable, optional
        ``slopes(rng)``, for a backward pass: a point at which the student's own gradient check, of exercise 4, can look
        at it.
    """

    functions: dict[str, Callable]
    calls: Callable[[numpy.random.Generator], list[Call]]
    mutants: list[tuple[str, dict[str, Callable]]]
    bound: float = 1e-9
    exact: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    slopes: Callable[[numpy.random.Generator], Slopes] | None = None

    def calls_for(self, seed: int) -> list[Call]:
        """The calls that a seed gives."""
        return self.calls(numpy.random.default_rng(seed))

    def slope_calls(self, seed: int, made: int) -> list[Call]:
        """The calls with which a student's `numerical_gradient` and `agree` look at the gradients, after others.

        Parameters
        ----------
        seed : int
        made : int
            How many calls precede these.
        """
        if self.slopes is None:
            return []
        calls, dy, of = self.slopes(numpy.random.default_rng(seed + 1))
        calls = [call._replace(arguments={n: _later(v, made) for n, v in call.arguments.items()}) for call in calls]
        backward = made + len(calls) - 1
        for name, forward in of.items():
            x = forward.arguments[forward.of]
            calls.append(Call(name, "numerical_gradient", {"f": forward, "x": x, "dy": dy}, (name,)))
            numerical = Kept(made + len(calls) - 1, name)
            arguments = {"analytic": Kept(backward, name), "numerical": numerical}
            calls.append(Call(name, "agree", arguments, (f"{name} agrees",)))
        return calls


def _later(value, made):
    return Kept(value.call + made, value.name) if isinstance(value, Kept) else value


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
