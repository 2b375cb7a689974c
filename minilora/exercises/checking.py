"""Checking an answer from its source to the report that a student reads."""

import ast
import inspect
from typing import NamedTuple

from minilora.exercises.judge import judge
from minilora.exercises.sandbox import run_answer
from minilora.exercises.sources import find
from minilora.exercises.tasks import TASKS

SHOWN_LINES = 10  # of what the answer printed


class Verdict(NamedTuple):
    """The result of a check."""

    passed: bool
    right: int  # tensors
    total: int
    report: str


def check_answer(name, source, seed=0):
    """Check a student's code.

    Parameters
    ----------
    name : str
        The exercise's.
    source : str
        All that the answer needs, imports too.
    seed : int
        Of the random points at which it is checked.

    Returns
    -------
    Verdict
    """
    exercise, task = find(name), TASKS[name]
    title = f"Exercise {exercise.number}, {name}"
    source = source.removeprefix("\ufeff")
    error, printed, calls = _import_of_the_package(source), "", task.calls_for(seed)
    findings, problems = [], []
    if not error:
        outcome = run_answer(source, calls)
        error, printed = outcome.error, outcome.printed
    if not error:
        findings = judge(task, outcome.results, seed)
        problems = _problems(calls, outcome.results)
    right = sum(finding.right for finding in findings)
    passed = bool(findings) and right == len(findings)
    lines = [f"{title}: {'passed' if passed else 'not yet'}", "", *([error] if error else problems)]
    if error or any(result.values for result in outcome.results):
        lines += [""] * bool(problems) + [line for finding in findings for line in _lines(finding)]
    lines += ["", exercise.shown] if passed else []
    if printed:
        shown = printed.splitlines()
        lines += ["", "Your code printed:", *(f"  {line[:200]}" for line in shown[:SHOWN_LINES])]
        lines += [f"  ... and {len(shown) - SHOWN_LINES} lines more"] if len(shown) > SHOWN_LINES else []
    return Verdict(passed, right, max(len(findings), 1), "\n".join(lines))


def _problems(calls, results):
    """What went wrong in calls that gave nothing, each message once, with the first call that it came from."""
    said: dict[str, str] = {}
    for call, result in zip(calls, results, strict=True):
        if result.problem and str(result.problem):
            said.setdefault(str(result.problem), f"  at  {call.where}")
    return [line for message, where in said.items() for line in (message, where)]


def _lines(finding):
    if finding.right:
        return [f"  {finding.name}: right"]
    mistake = [f"      {finding.mistake}"] if finding.mistake else []
    return [f"  {finding.name}: wrong", *mistake, *(f"      {line}" for line in finding.details)]


def _import_of_the_package(source):
    """A message if the code imports minilora, where what it should write is written; other mistakes show later."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(module.split(".")[0] == "minilora" for module in modules):
            return f"Line {node.lineno} imports minilora. Here you write it yourself, with Python and NumPy alone."
    return ""


def source_of(answer):
    """The whole file or notebook cell that a function was defined in; text stays what it is."""
    if isinstance(answer, str):
        return answer
    lines, _ = inspect.findsource(answer)
    return "".join(lines)


def check(name, answer, seed=0):
    """Check an answer in a notebook, and print the report.

    Parameters
    ----------
    name : str
        The exercise's, such as "linear_backward".
    answer : callable or str
        A function that the answer's cell defines, or the cell's text. The whole cell is checked.
    seed : int
        Of the random points at which it is checked.
    """
    print(check_answer(name, source_of(answer), seed).report)


def marks(name, answer, points, seed):
    """Check an answer for marks: print the report, and return the part of `points` that the right tensors make up."""
    verdict = check_answer(name, source_of(answer), seed)
    print(verdict.report)
    return round(points * verdict.right / verdict.total, 2)
