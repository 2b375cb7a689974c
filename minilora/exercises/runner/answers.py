"""Students' files: the functions that they define, and what went wrong in them, in words for their authors."""

import os
import runpy
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Mapping

from .calls import AnswerError
from .guard import Forbidden

ANSWER = "answer.py"  # the file that is checked
EARLIER = "earlier"  # the module from which an answer imports earlier ones
_run: set[str] = {ANSWER}  # the files whose lines are quoted


def functions_of(names: Iterable[str], path: str | os.PathLike) -> dict[str, Callable]:
    """The functions that a student's file defines, by name; a missing one says so when it is called."""
    _run.add(str(path))
    defined = runpy.run_path(str(path), run_name="exercise")

    def missing(name):
        def function(*arguments):
            raise AnswerError(f"There is no function {name} in your file.")

        return function

    return {name: defined[name] if callable(defined.get(name)) else missing(name) for name in sorted(names)}


def earlier_answers(files: Mapping[str, str]) -> types.ModuleType:
    """Make the module `earlier`, for `from earlier import softmax_backward`: a file is run when it is first needed.

    Parameters
    ----------
    files : dict of str to str
        By function: the file that defines it.
    """

    class Earlier(types.ModuleType):
        def __getattr__(self, name: str) -> Callable:
            if name.startswith("__"):
                raise AttributeError(name)
            if name not in files:
                there = f"there are {', '.join(files)}" if files else "there are none"
                raise AnswerError(
                    f"`{name}` is not among your earlier answers: {there}. You can use the exercises that come before "
                    "this one and that you have passed; in a course, none."
                )
            together = [other for other in files if files[other] == files[name]]
            vars(self).update(functions_of(together, files[name]))
            return vars(self)[name]

    sys.modules[EARLIER] = Earlier(EARLIER)
    return sys.modules[EARLIER]


def earlier_function(earlier: types.ModuleType, name: str) -> Callable:
    """An earlier answer's function; if its file no longer runs, one that says so when it is called."""
    try:
        return getattr(earlier, name)
    except Exception as problem:
        said = explain(problem)

    def function(*arguments):
        raise AnswerError(said)

    return function


def explain(problem: BaseException) -> str:
    """What went wrong, to a student."""
    if isinstance(problem, AnswerError):
        return str(problem)
    if isinstance(problem, SystemExit):
        return "Your code called exit(). A function gives its answer with `return`."
    if isinstance(problem, SyntaxError) and problem.filename in _run:
        line = f"Line {problem.lineno}{_of(problem.filename)}"
        return f"{line} is not Python: {(problem.text or '').strip()!r} ({problem.msg})."
    line = where(problem)
    if isinstance(problem, NotImplementedError):
        return f"Still to be written: {problem}."
    if isinstance(problem, Forbidden):
        return f"Your code was stopped{line}: {problem}."
    if isinstance(problem, ModuleNotFoundError):
        return f"Your code imports a module that is not available{line}: {problem}. An answer is Python and NumPy only."
    if isinstance(problem, MemoryError):
        return f"Your code ran out of memory{line}: {problem}".rstrip(": ") + "."
    if isinstance(problem, RecursionError):
        return f"Your code calls itself endlessly{line}."
    return f"Your code raised {type(problem).__name__}{line}: {problem}"


def where(problem: BaseException) -> str:
    """The last line of the student's code that an exception passed, as " in line 12, `dx = dy @ W.T`"."""
    frames = [f for f in traceback.extract_tb(problem.__traceback__) if f.filename in _run]
    return f" in line {frames[-1].lineno}{_of(frames[-1].filename)}, `{frames[-1].line}`" if frames else ""


def _of(path):
    """Which file, unless it is the one that is checked."""
    name = os.path.basename(path)
    return "" if name == ANSWER else f" of {name}"
