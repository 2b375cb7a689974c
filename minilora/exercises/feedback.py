"""Checking all answers in a folder, and writing what a student should know as a file: for graders that run on a push.

Nothing in the folder is trusted. A name is only followed to a plain file inside it, an answer runs in a process of its
own (`sandbox.py`), and what it printed stands in the feedback as text: without control characters, in a block that it
cannot close.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minilora.exercises.checking import check_answer
from minilora.exercises.notebooks import answer_in
from minilora.exercises.sources import Exercise
from minilora.limits import one_line

PASSED, NOT_YET, NOT_BEGUN, UNREADABLE = "passed", "not yet", "not begun", "cannot be read"
LONGEST = 300  # characters of a line of feedback
STILL = "Still to be written: "  # how the checker says that an answer is still the blank one


class Checked(NamedTuple):
    """What is known of one exercise's answer."""

    number: int
    name: str
    state: str  # of the four above
    points: float
    of: float
    report: str  # for the student


def answers_in(folder: Path, exercises: Iterable[Exercise]) -> dict[str, Path]:
    """The files of answers that are in a folder, by the exercise's name: a .py file, or else a notebook."""
    found = {}
    for exercise in exercises:
        path = folder / exercise.file_name
        for candidate in (path, path.with_suffix(".ipynb")):
            if candidate.exists() or candidate.is_symlink():
                found.setdefault(exercise.name, candidate)
    return found


def checked(exercise: Exercise, path: Path, folder: Path, seed: int) -> Checked:
    """Check one answer.

    Parameters
    ----------
    exercise : Exercise
    path, folder : Path
        The answer's file, and the folder that it must be in.
    seed : int
        Of the points at which it is tried.

    Returns
    -------
    Checked
        Its points are the fraction of right tensors, of twice the difficulty, as with nbgrader.
    """
    of = 2.0 * exercise.difficulty
    try:
        source = _read(path, folder, exercise.name)
    except (ValueError, OSError) as error:
        reason = str(error).replace(str(path), path.name)
        return Checked(exercise.number, exercise.name, UNREADABLE, 0.0, of, one_line(reason, LONGEST))
    verdict = check_answer(exercise.name, source, seed)
    state = PASSED if verdict.passed else NOT_BEGUN if STILL in verdict.report and not verdict.right else NOT_YET
    points = round(of * verdict.right / verdict.total, 2)
    return Checked(exercise.number, exercise.name, state, points, of, verdict.report)


def _read(path: Path, folder: Path, name: str) -> str:
    """The text of an answer; ValueError if it is no plain file, or leads out of its folder."""
    if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is a link; it must be a file")
    if not path.is_file():
        raise ValueError(f"{path} must be a file")
    return answer_in(path, name).source


def as_markdown(results: Sequence[Checked], seed: int) -> str:
    """The feedback: a table of all exercises, and the checker's report on each that was begun."""
    begun = [result for result in results if result.state != NOT_BEGUN]
    passed = sum(result.state == PASSED for result in results)
    lines = ["# Feedback", "", f"{passed} of {len(results)} passed, {_total(results)} points.", ""]
    lines += ["| exercise | | points |", "|---|---|---|"]
    lines += [f"| {r.number} {r.name} | {r.state} | {r.points:g} of {r.of:g} |" for r in results]
    for result in begun:
        fence = "`" * (1 + max([2, *map(len, re.findall("`+", result.report))]))
        report = (one_line(line, LONGEST) for line in result.report.splitlines())
        lines += ["", f"## {result.number} {result.name}", "", f"{fence}text", *report, fence]
    lines += [
        "",
        f"Tried at the points of seed {seed}: `minilora exercises check NUMBER --seed {seed}` tries the same.",
    ]
    return "\n".join(lines) + "\n"


def as_data(results: Sequence[Checked], seed: int) -> dict[str, Any]:
    """The feedback for programs."""
    return {"seed": seed, "exercises": [{**r._asdict(), "report": r.report.splitlines()} for r in results]}


def _total(results: Sequence[Checked]) -> str:
    return f"{sum(r.points for r in results):g} of {sum(r.of for r in results):g}"
