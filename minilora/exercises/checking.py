"""Checking an answer from its source to the report that a student reads."""

import ast
import inspect
import re
from pathlib import Path
from typing import NamedTuple

from minilora.arrays.threads import in_browser
from minilora.exercises.earlier import GRADIENT_CHECK, earlier_for, looks_at_gradients, passed_answers
from minilora.exercises.judge import Finding, judge
from minilora.exercises.notebooks import without_magics
from minilora.exercises.runner.here import GIVEN_UP
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


def check_answer(name: str, source: str, seed: int = 0, answers: dict[str, str] | None = None) -> Verdict:
    """Check a student's code.

    Parameters
    ----------
    name : str
        The exercise's name.
    source : str
        Everything that the answer needs, including imports.
    seed : int
        Seed of the random points at which it is checked.
    answers : dict of str to str, optional
        The right answers to other exercises, which this one may use; and exercise 4's gradient check looks at this one.

    Returns
    -------
    Verdict
    """
    exercise, task = find(name), TASKS[name]
    title = f"Exercise {exercise.number}, {name}"
    source = without_magics(source.removeprefix("\ufeff"))
    error, printed, calls = _import_of_the_package(source), "", task.calls_for(seed)
    earlier = earlier_for(name, answers or {})
    slopes = task.slope_calls(seed, len(calls))
    slopes = slopes if looks_at_gradients(name, earlier, slopes) else []
    findings, problems = [], []
    if not error:
        outcome = run_answer(source, calls + slopes, earlier=earlier)
        error, printed = outcome.error, outcome.printed
    results = [] if error else outcome.results[: len(calls)]
    if not error:
        findings = judge(task, results, seed)
        problems = _problems(calls, results)
    right = sum(finding.right for finding in findings)
    passed = bool(findings) and right == len(findings)
    lines = [f"{title}: {'passed' if passed else 'not yet'}", "", *([error] if error else problems)]
    if error or any(result.values for result in results):
        lines += [""] * bool(problems) + [line for finding in findings for line in lines_of(finding)]
        lines += [] if error else _of_gradient_check(slopes, outcome.results[len(calls) :])
    lines += ["", exercise.shown] if passed else []
    if printed:
        shown = printed.splitlines()
        lines += ["", "Your code printed:", *(f"  {line[:200]}" for line in shown[:SHOWN_LINES])]
        lines += [f"  ... and {len(shown) - SHOWN_LINES} lines more"] if len(shown) > SHOWN_LINES else []
    lines += ["", GIVEN_UP] if in_browser() else []
    return Verdict(passed, right, max(len(findings), 1), "\n".join(lines))


def _problems(calls, results):
    """The first thing that went wrong with each function, and in which call."""
    said: dict[str, tuple[str, str]] = {}
    for call, result in zip(calls, results, strict=True):
        if result.problem and str(result.problem):
            said.setdefault(call.function, (str(result.problem), f"  at  {call.where}"))
    return [line for problem in said.values() for line in problem]


def lines_of(finding: Finding) -> list[str]:
    """What the report says of one tensor."""
    if finding.right:
        return [f"  {finding.name}: right"]
    mistake = [f"      {finding.mistake}"] if finding.mistake else []
    return [f"  {finding.name}: wrong", *mistake, *(f"      {line}" for line in finding.details)]


def _of_gradient_check(calls, results):
    """What the student's own gradient check says, of each gradient."""
    said = []
    for call, result in zip(calls, results, strict=True):
        if call.function == "agree":
            verdict = bool(next(iter(result.values.values()))) if result.values else None
            said.append(f"{call.where} {'agrees' if verdict else 'does not' if verdict is False else 'not looked at'}")
    if not said:
        return []
    problems = [str(r.problem) for c, r in zip(calls, results, strict=True) if r.problem and str(r.problem)]
    title = f"Your own gradient check (exercise {find(GRADIENT_CHECK).number}) says:"
    return ["", title, f"  {', '.join(said)}", *(f"  {problem}" for problem in dict.fromkeys(problems))]


def _import_of_the_package(source):
    """A message if the code imports minilora, which has the solutions; other mistakes show later."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(module.split(".")[0] == "minilora" for module in modules):
            return f"Line {node.lineno} imports minilora. Here you write it yourself, with Python and NumPy only."
    return ""


def source_of(answer) -> str:
    """The whole file or notebook cell in which a function was defined; text is returned as it is.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If the code cannot be found.
    """
    if isinstance(answer, str):
        return answer
    if not inspect.isroutine(answer):
        raise TypeError(f"answer was {type(answer).__name__}; it must be the function that the answer's cell defines")
    try:
        lines, _ = inspect.findsource(answer)
    except OSError:
        return _last_cell_that_defines(answer.__name__)
    return "".join(lines)


def _last_cell_that_defines(name):
    """A cell of the running notebook: a magic such as `%%time` runs code that has no file, and no line of its own."""
    import __main__

    defines = re.compile(rf"^\s*def {re.escape(name)}\b", re.MULTILINE)
    for cell in reversed(getattr(__main__, "In", [])):
        cell = _as_written(cell)
        if defines.search(cell):
            return cell
    raise ValueError(f"the code of {name} was not found; define it in a notebook cell or a file")


def _as_written(cell):
    """A cell as it was typed; IPython notes `%%time` as a call, `get_ipython().run_cell_magic('time', '', '...')`."""
    for node in ast.walk(ast.parse(cell)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "run_cell_magic" and len(node.args) == 3:
            return ast.literal_eval(node.args[2])
    return cell


def check(name: str, answer, seed: int = 0) -> None:
    """Check an answer in a notebook, and print the report.

    Parameters
    ----------
    name : str
        The exercise's name, such as "linear_backward".
    answer : callable or str
        A function that the answer's cell defines, or the cell's text. The whole cell is checked.
    seed : int
        Seed of the random points at which it is checked.
    """
    print(check_answer(name, source_of(answer), seed, passed_answers(Path.cwd())).report)


def marks(name: str, answer, points: float, seed: int) -> float:
    """Check an answer for marks: print the report, and return the share of `points` that the right tensors earn."""
    verdict = check_answer(name, source_of(answer), seed)
    print(verdict.report)
    return round(points * verdict.right / verdict.total, 2)
