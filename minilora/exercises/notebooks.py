"""Exercises as notebooks: written with jupytext, from the same sources as the .py files."""

import json
from pathlib import Path

from minilora.exercises.sources import blank, for_students


def student_notebook(exercise):
    """The text of the .ipynb file that a student fills in; needs jupytext."""
    cells = [cell for cell in exercise.cells if for_students(cell)]
    return _notebook(exercise.head, [cell._replace(text=blank(cell.text, exercise)) for cell in cells])


def source_notebook(exercise):
    """The text of the .ipynb file from which nbgrader makes an assignment, with the solution; needs jupytext."""
    return _notebook(exercise.head, [cell for cell in exercise.cells if for_students(cell) or cell.has("grade")])


def _notebook(head, cells):
    try:
        import jupytext
    except ImportError:
        raise ValueError("notebooks need jupytext:  pip install jupytext") from None
    text = head + "\n\n".join(f"{cell.marker}\n{cell.text}" for cell in cells) + "\n"
    return jupytext.writes(jupytext.reads(text, fmt="py:percent"), fmt="ipynb")


def answer_in(path):
    """The code of a student's file: all of a .py file, and of a notebook the cell for the answer.

    Raises
    ------
    ValueError
        If the notebook is damaged, or has no such cell.
    """
    text = Path(path).read_text(encoding="utf-8")
    if Path(path).suffix != ".ipynb":
        return text
    try:
        cells = json.loads(text)["cells"]
        answers = ["".join(c["source"]) for c in cells if c["metadata"].get("nbgrader", {}).get("solution")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no notebook, or it is damaged: {error}") from None
    if not answers:
        raise ValueError(f"{path} has no cell for the answer any more; reset the exercise and copy your answer there")
    return "\n".join(answers)
