"""What nbgrader does differently for these exercises; the course's `nbgrader_config.py` names these classes.

When nbgrader grades, it runs a notebook in one kernel: the student's cells and the teacher's. An answer that exits
would take the kernel down with it, and one that replaces a function would judge itself. So here the student's code
does not enter the kernel: the cell for the answer becomes the answer's text, and the teacher's cells hand that text to
the checker, which runs it in a process of its own.

Also, nbgrader gives up on all of a student's notebooks if one is damaged or lacks a cell. So what is graded is the
notebook that was handed out, with the student's answer in its cell: whatever else happened to the submission, each cell
that gives marks is there exactly once. What the student should know about this is written above the answer.
"""

import tempfile
from pathlib import Path

from nbconvert.exporters import NotebookExporter
from nbformat import read
from nbformat.v4 import new_markdown_cell
from nbgrader import utils
from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.preprocessors import ClearSolutions, Execute, NbGraderPreprocessor
from traitlets import Integer

from minilora.exercises.notebooks import answer_in
from minilora.exercises.sources import blank, find
from minilora.exercises.tasks import TASKS


class Submission(NotebookExporter):
    """Replaces NotebookExporter: reads a submitted notebook as the one that was handed out, with its answer."""

    def from_filename(self, filename, resources=None, **options):
        handed_out = self._handed_out(Path(filename))
        if handed_out is None:  # the second time: the graded notebook is already such a one
            return super().from_filename(filename, resources, **options)
        nb = read(handed_out, as_version=4)
        for i, cell in enumerate(nb.cells):
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in TASKS:
                cell.source, notes = self._answer(Path(filename), name)
                if notes:
                    told = "\n".join(f"- {note}" for note in notes)
                    nb.cells.insert(i, new_markdown_cell(f"**What was noticed while this was graded**\n\n{told}"))
                break
        resources = (resources or {}) | {"metadata": {"name": Path(filename).stem, "path": str(Path(filename).parent)}}
        return self.from_notebook_node(nb, resources, **options)

    def _handed_out(self, path):
        """The released notebook of that name, if the path is a submission's."""
        course = self.parent.coursedir
        if not path.resolve().is_relative_to((Path(course.root) / course.submitted_directory).resolve()):
            return None
        for step in (course.release_directory, course.source_directory):
            found = Path(course.format_path(step, ".", course.assignment_id)) / path.name
            if found.is_file():
                return found
        return None

    def _answer(self, path, name):
        try:
            return answer_in(path, name)
        except (ValueError, OSError) as error:
            reason = str(error).replace(str(path), path.name)
            self.log.warning("No answer in %s: %s", path, reason)
            return f"# There was no answer to check here: {reason}", (f"No answer was found: {reason}.",)


class BlankAnswers(NbGraderPreprocessor):
    """Replaces ClearSolutions: the blank raises an error that names its task, as in students' .py files."""

    def preprocess_cell(self, cell, resources, cell_index):
        if utils.is_solution(cell):
            cell.source = blank(cell.source, find(cell.metadata.nbgrader["grade_id"]))
        return cell, resources


class CheckAnswers(Execute):
    """Replaces Execute: runs only the teacher's cells, with the student's answer as text."""

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
    """Whether nbgrader restored a cell: it knows the cell, and students may not change it."""
    return "grade_id" in cell.metadata.get("nbgrader", {}) and utils.is_locked(cell)


def as_text(cell):
    """What runs in place of a student's cell: nothing, or, for the answer's cell, its functions set to its text."""
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
    c.Autograde.exporter_class = Submission
    c.GenerateAssignment.preprocessors = replaced(release, ClearSolutions, BlankAnswers)
    c.Autograde.autograde_preprocessors = replaced(autograde, Execute, CheckAnswers)
