"""Answers of all kinds, and checking one in this process, where it is quick and what it raises can be looked at."""

from minilora.exercises.judge import judge
from minilora.exercises.runner.answers import functions_of
from minilora.exercises.sources import BEGIN, END, INSTEAD, exercises
from minilora.exercises.task import run
from minilora.exercises.tasks import TASKS

NAMES = list(TASKS)


def by_name(name):
    return next(exercise for exercise in exercises() if exercise.name == name)


def results_of(name, source, folder, seed=0):
    """What the calls of a student's file give."""
    path = folder / "answer.py"
    path.write_text(source)
    return run(TASKS[name], functions_of(TASKS[name].functions, path), seed)


def problems_of(name, source, folder, seed=0):
    """What went wrong in the calls, as a list of exceptions."""
    return [result.problem for result in results_of(name, source, folder, seed) if result.problem]


def findings_of(name, source, folder, seed=0):
    return judge(TASKS[name], results_of(name, source, folder, seed), seed)


def solution_lines(exercise):
    """The lines between the marks, stripped, except those that are right in what students get to mend."""
    lines, given, inside = [], set(), ""
    for line in next(cell.text for cell in exercise.cells if cell.has("solution")).splitlines():
        if line.strip() in (BEGIN, INSTEAD, END):
            inside = line.strip()
        elif inside == BEGIN and line.strip():
            lines.append(line.strip())
        elif inside == INSTEAD:
            given.add(line.strip("# "))
    return [line for line in lines if line not in given]
