"""The main program of the process in which an answer runs; `sandbox.py` starts it in the answer's folder.

It runs `answer.py`, makes the calls of `calls.json`, and leaves what came back, or what went wrong, in `results.json`.
It judges nothing: the process that started it does.
"""

import builtins
import json
import os
import runpy
import sys
import threading
import traceback
from collections.abc import Callable, Iterable

import numpy

from .calls import AnswerError, decode, encode, perform
from .guard import Forbidden, forbid_all_but_computing, limit_resources

ANSWER, CALLS, RESULTS = "answer.py", "calls.json", "results.json"


def main(seconds: int, python: list[str]) -> None:
    """Run the answer, within a number of seconds of processor time. Never returns.

    Parameters
    ----------
    seconds : int
    python : list of str
        Where Python's own modules are found.
    """
    end, write, results = os._exit, _write, {"error": "", "results": []}
    _end_with_the_parent()
    limit_resources(seconds)
    with open(CALLS, encoding="utf-8") as file:
        calls = decode(json.load(file))
    numpys = os.path.dirname(numpy.__file__)
    sys.path[:] = python
    builtins.exit = builtins.quit = sys.exit  # `site` would define these, but it was left out
    forbid_all_but_computing(os.getcwd(), [*python, numpys, numpys + ".libs"])
    try:
        functions = functions_of({call.function for call in calls}, ANSWER)
        results["results"] = [
            {"values": encode(result.values), "error": explain(result.problem) if result.problem else None}
            for result in perform(functions, calls)
        ]
    except BaseException as problem:  # whatever it is, even an exit, the student should see it
        results["error"] = explain(problem)
    write(results)
    end(0)  # not waiting for threads that the answer has started


def _write(results):
    with open(RESULTS, "w", encoding="utf-8") as file:
        json.dump(results, file)


def _end_with_the_parent():
    """End when the process that started this one does: that closes the other end of our input pipe."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    read, end = os.read, os._exit

    def watch():
        read(pipe, 1)
        end(1)

    threading.Thread(target=watch, daemon=True).start()


def functions_of(names: Iterable[str], path: str | os.PathLike) -> dict[str, Callable]:
    """The functions that a student's file defines, by name; a missing one says so when it is called."""
    defined = runpy.run_path(str(path), run_name="exercise")

    def missing(name):
        def function(*arguments):
            raise AnswerError(f"There is no function {name} in your file.")

        return function

    return {name: defined[name] if callable(defined.get(name)) else missing(name) for name in sorted(names)}


def explain(problem: BaseException) -> str:
    """What went wrong, to a student."""
    if isinstance(problem, AnswerError):
        return str(problem)
    if isinstance(problem, SystemExit):
        return "Your code called exit(). A function gives its answer with `return`."
    if isinstance(problem, SyntaxError) and problem.filename and problem.filename.endswith(ANSWER):
        return f"Line {problem.lineno} is not Python: {(problem.text or '').strip()!r} ({problem.msg})."
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
    frames = [f for f in traceback.extract_tb(problem.__traceback__) if f.filename.endswith(ANSWER)]
    return f" in line {frames[-1].lineno}, `{frames[-1].line}`" if frames else ""
