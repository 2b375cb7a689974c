"""What nbgrader does otherwise for these exercises; `nbgrader_config.py` of the course names these classes.

When nbgrader grades, it runs a notebook in one kernel: the student's cells and the teacher's. An answer that exits
would take the kernel down with it, and one that replaces a function would be judged by its own. So here the student's
code does not enter the kernel: the cell for the answer becomes the answer's text, and the teacher's cells, which
nbgrader has put back as they were, hand that text to the checker, which runs it in a process of its own.
"""

import tempfile

from nbgrader import utils
from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.preprocessors import ClearSolutions, Execute, NbGraderPreprocessor
from traitlets import Integer

from minilora.exercises.sources import blank, find
from minilora.exercises.tasks import TASKS


class BlankAnswers(NbGraderPreprocessor):
    """In place of ClearSolutions: the blank raises an error that names its task, the same as in students' .py files."""

    def preprocess_cell(self, cell, resources, cell_index):
        if utils.is_solution(cell):
            cell.source = blank(cell.source, find(cell.metadata.nbgrader["grade_id"]))
        return cell, resources


class CheckAnswers(Execute):
    """In place of Execute: run the teacher's cells alone, with the student's answer as a text."""

    timeout = Integer(300, allow_none=True, help="seconds for a cell; the checker has shorter limits of its own").tag(
        config=True
    )

    def preprocess(self, nb, resources, *arguments, **options):
        written = [cell.source for cell in nb.cells]
        for cell in nb.cells:
            if cell.cell_type == "code" and not is_teachers(cell):
                cell.source = as_text(cell)
        where = resources["metadata"]["path"]
        try:
            with tempfile.TemporaryDirectory() as empty:  # where the student's files cannot be imported
                resources["metadata"]["path"] = empty
                return super().preprocess(nb, resources, *arguments, **options)
        finally:
            resources["metadata"]["path"] = where
            for cell, source in zip(nb.cells, written, strict=True):
                cell.source = source


def is_teachers(cell):
    """Whether a cell is one that nbgrader has put back: one that it knows, and that students may not change."""
    return "grade_id" in cell.metadata.get("nbgrader", {}) and utils.is_locked(cell)


def as_text(cell):
    """What is run in place of a student's cell: nothing, or where the answer stands, its functions set to its text."""
    name = cell.metadata.get("nbgrader", {}).get("grade_id")
    return " = ".join((*TASKS[name].functions, repr(cell.source))) if name in TASKS else ""


def replaced(preprocessors, old, new):
    return [new if preprocessor is old else preprocessor for preprocessor in preprocessors]


def configure(c):
    """Set up nbgrader's configuration for a course of these exercises."""
    of = {kind: kind.class_traits() for kind in (GenerateAssignment, Autograde)}
    release = of[GenerateAssignment]["preprocessors"].default()
    autograde = of[Autograde]["autograde_preprocessors"].default()
    c.CourseDirectory.course_id = "minilora"
    c.GenerateAssignment.preprocessors = replaced(release, ClearSolutions, BlankAnswers)
    c.Autograde.autograde_preprocessors = replaced(autograde, Execute, CheckAnswers)
