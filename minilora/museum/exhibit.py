"""An exhibit: one wrong gradient with what it belongs to, and how it takes the place of the right one."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from minilora.exercises.tasks import TASKS
from minilora.ops.plain import plain_ops

Pairs = tuple[tuple[Any, Any], ...]


class Check(NamedTuple):
    """A check that passes with the right code and fails with the wrong one.

    Attributes
    ----------
    says : str
        What it does, in a few words.
    run : callable
        ``run()`` raises an AssertionError if the code is wrong.
    """

    says: str
    run: Callable[[], Any]


class Slip(NamedTuple):
    """A line of an exercise's solution, and what an exhibit's mistake makes of it.

    Attributes
    ----------
    exercise : str
        Its name.
    right, wrong : str
        A line of the exercise's solution, and what the mistake makes of it.
    named : str
        What the exercises' checker then says of it: the end of the sentence "Your dx equals ...".
    """

    exercise: str
    right: str
    wrong: str
    named: str


class Exhibit(NamedTuple):
    """One wrong gradient, from a real public bug.

    Attributes
    ----------
    name, title : str
    link : str
        The public thread.
    says : str
        What went wrong there, in one sentence.
    place : callable
        The function whose lines they are.
    right, wrong : str
        Its lines, and what the bug makes of them.
    instead : tuple of (right, wrong)
        The functions that are exchanged; see `exchanged`.
    scene : str
        The training run that shows the damage; a name in `SCENES`.
    check : Check
        The check that finds it.
    slip : Slip, optional
        The same mistake in an exercise.
    """

    name: str
    title: str
    link: str
    says: str
    place: Any
    right: str
    wrong: str
    instead: Pairs
    scene: str
    check: Check
    slip: Slip | None = None


@contextlib.contextmanager
def exchanged(pairs: Pairs) -> Iterator[None]:
    """A context in which minilora computes by the page, with some of its functions exchanged for others.

    Parameters
    ----------
    pairs : tuple of (right, wrong)
        Functions, methods or properties, each with what takes its place wherever the package names it: as
        `minilora.ops.fast` and a layer's module name an op. The museum and the exercises keep the right ones.

    Raises
    ------
    ValueError
        If nothing in the package is named so: an exchange that changes nothing would show no damage.
    """
    places = [(*found, wrong, right) for right, wrong in pairs for found in _holders(right)]
    with plain_ops():
        try:
            for holder, name, wrong, _ in places:
                setattr(holder, name, wrong)
            yield
        finally:
            for holder, name, _, right in places:
                setattr(holder, name, right)


def _holders(thing: Any) -> list[tuple[Any, str]]:
    """Every module and class of the package that has this very object as an attribute, and under which name."""
    modules = [module for name, module in list(sys.modules.items()) if _is_exchanged(name, module)]
    classes = {id(c): c for module in modules for c in vars(module).values() if isinstance(c, type)}.values()
    own = [c for c in classes if _is_exchanged(c.__module__, c)]
    found = [(holder, name) for holder in (*modules, *own) for name, value in vars(holder).items() if value is thing]
    if not found:
        raise ValueError(f"pairs had {thing!r:.80}, which nothing in minilora has as an attribute")
    return found


def _is_exchanged(name: str, holder: ModuleType | type) -> bool:
    package, *parts = name.split(".")
    return package == "minilora" and parts[:1] not in (["museum"], ["exercises"]) and holder is not None


def known(exercise: str, named: str) -> Callable[..., Any]:
    """The wrong function that an exercise knows by this description; of several functions, the one that it changes."""
    (changes,) = [functions for what, functions in TASKS[exercise].mutants if what == named]
    (wrong,) = changes.values()
    return wrong
