"""The main program of the process in which an answer runs; `sandbox.py` starts it in the answer's folder.

It runs `answer.py`, makes the calls of `calls.json`, and leaves what came back, or what went wrong, in `results.json`.
It judges nothing: the process that started it does.
"""

import builtins
import json
import os
import sys
import threading

import numpy

from .answers import ANSWER, earlier_answers, earlier_function, explain, functions_of
from .calls import decode, encode, functions_in, perform
from .guard import forbid_all_but_computing, limit_resources

CALLS, RESULTS = "calls.json", "results.json"


def main(seconds: int, python: list[str]) -> None:
    """Run the answer, within a number of seconds of processor time. Never returns.

    Parameters
    ----------
    seconds : int
    python : list of str
        Where Python's own modules are found.
    """
    end, write, results = os._exit, write_results, {"error": "", "results": []}
    prepare(seconds)
    with open(CALLS, encoding="utf-8") as file:
        asked = json.load(file)
    calls, names = decode(asked["calls"]), {str(name): str(path) for name, path in asked["earlier"].items()}
    forbid(python)
    try:
        earlier = earlier_answers(names)
        functions = functions_of(functions_in(calls) - names.keys(), ANSWER)
        functions |= {name: earlier_function(earlier, name) for name in functions_in(calls) & names.keys()}
        results["results"] = [
            {"values": encode(result.values), "error": explain(result.problem) if result.problem else None}
            for result in perform(functions, calls)
        ]
    except BaseException as problem:  # whatever it is, even an exit, the student should see it
        results["error"] = explain(problem)
    write(results)
    end(0)  # not waiting for threads that the answer has started


def prepare(seconds: int) -> None:
    """Bound what this process may use, and see to it that it does not outlive the one that started it."""
    _end_with_the_parent()
    limit_resources(seconds)


def forbid(python: list[str]) -> None:
    """From now on, this process only computes, and finds only Python's own modules, and those that are loaded."""
    numpys = os.path.dirname(numpy.__file__)
    sys.path[:] = python
    builtins.exit = builtins.quit = sys.exit  # `site` would define these, but it was left out
    forbid_all_but_computing(os.getcwd(), [*python, numpys, numpys + ".libs"])


def write_results(results: dict) -> None:
    """Leave the results, or what went wrong."""
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
