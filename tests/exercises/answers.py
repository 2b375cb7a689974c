"""Answers of all kinds, and checking one in this process, where it is quick and what it raises can be looked at."""

from minilora.exercises.judge import judge
from minilora.exercises.sources import BEGIN, END, exercises
from minilora.exercises.task import run
from minilora.exercises.tasks import TASKS
from minilora.exercises.worker import functions_of

NAMES = list(TASKS)


def by_name(name):
    return next(exercise for exercise in exercises() if exercise.name == name)


def answers_of(name, source, folder, seed=0):
    """What a student's file answers."""
    path = folder / "answer.py"
    path.write_text(source)
    return run(TASKS[name], functions_of(TASKS[name], path), seed)


def findings_of(name, source, folder, seed=0):
    return judge(TASKS[name], answers_of(name, source, folder, seed), seed)


def solution_lines(exercise):
    """The lines between the marks, stripped."""
    lines, inside = [], False
    for line in next(cell.text for cell in exercise.cells if cell.has("solution")).splitlines():
        if line.strip() in (BEGIN, END):
            inside = line.strip() == BEGIN
        elif inside and line.strip():
            lines.append(line.strip())
    return lines
