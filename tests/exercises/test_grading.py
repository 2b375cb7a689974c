"""From release to feedback with nbgrader: right, half-right and hostile submissions get full, partial and no marks."""

import json
import re
import shutil

import pytest

from exercises.answers import by_name, solution_lines

pytest.importorskip("nbgrader", reason="needs the extra `grading`")
pytest.importorskip("jupytext", reason="needs the extra `grading`")

from nbformat.v4 import new_code_cell
from traitlets.config import Config

from minilora.exercises import course, grading

NOTEBOOKS = {"linear_backward": "01_linear_backward.ipynb", "parameter_counting": "03_parameter_counting.ipynb"}
PATCH = "import minilora.exercises, os\nminilora.exercises.marks = lambda *a, **k: 2.0\nos._exit(0)"


def answer_cell(name, source):
    return new_code_cell(source, metadata={"nbgrader": {"grade_id": name, "solution": True, "locked": False}})


def test_an_answer_enters_the_kernel_as_text_alone():
    cell = answer_cell("merging", "import os\nos._exit(0)")
    assert not grading.is_teachers(cell)
    assert grading.as_text(cell) == "merge = unmerge = 'import os\\nos._exit(0)'"


def test_what_a_student_adds_is_not_run():
    assert grading.as_text(new_code_cell(PATCH)) == ""
    assert not grading.is_teachers(new_code_cell(PATCH, metadata={"nbgrader": {"locked": True}}))
    assert not grading.is_teachers(answer_cell("linear_backward_marks", "2.0"))


def test_the_teachers_cell_is_run():
    metadata = {"nbgrader": {"grade_id": "linear_backward_marks", "grade": True, "solution": False, "locked": True}}
    assert grading.is_teachers(new_code_cell("marks()", metadata=metadata))


def test_the_configuration_puts_the_two_classes_in_their_places():
    c = Config()
    grading.configure(c)
    release, autograde = c.GenerateAssignment.preprocessors, c.Autograde.autograde_preprocessors
    assert grading.BlankAnswers in release and grading.ClearSolutions not in release
    assert grading.CheckAnswers in autograde and grading.Execute not in autograde


# ---- end to end


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A course of two exercises with five submissions, graded by one command."""
    folder = tmp_path_factory.mktemp("course")
    release = course.build(folder, list(NOTEBOOKS))
    right = {name: by_name(name).solution for name in NOTEBOOKS}
    half = {"linear_backward": right["linear_backward"].replace("dx = dy @ W", "dx = 2 * dy @ W")}
    students = {
        "half": half,
        "hostile": {"linear_backward": PATCH, "parameter_counting": "while True: print('x' * 999)"},
        "endless": {"linear_backward": "while True: pass", "parameter_counting": "exit()"},
        "damaged": right,
        "zoe": right,
        **{student: right for student in ODD},
    }
    for student, answers in students.items():
        submitted = folder / "submitted" / student / course.ASSIGNMENT
        shutil.copytree(release, submitted)
        for name, source in answers.items():
            edit(submitted / NOTEBOOKS[name], name, source, tests_too=student == "hostile")
    shadow = folder / "submitted" / "hostile" / course.ASSIGNMENT / "minilora" / "exercises"
    shadow.mkdir(parents=True)
    (shadow.parent / "__init__.py").write_text("")
    (shadow / "__init__.py").write_text("def marks(*arguments, **options): return 2.0")
    (folder / "submitted" / "damaged" / course.ASSIGNMENT / NOTEBOOKS["linear_backward"]).write_text("{")
    for student, change in ODD.items():
        path = folder / "submitted" / student / course.ASSIGNMENT / NOTEBOOKS["linear_backward"]
        path.write_bytes(change(json.loads(path.read_text())))
    grading_of_all = course.nbgrader(folder, "autograde", course.ASSIGNMENT)
    return folder, grading_of_all


def cells_changed(change):
    """A submission whose list of cells is change(cells, index of the answer, index of the marks)."""

    def changed(notebook):
        about = [cell["metadata"].get("nbgrader", {}) for cell in notebook["cells"]]
        answer = next(i for i, cell in enumerate(about) if cell.get("solution"))
        marks = next(i for i, cell in enumerate(about) if cell.get("grade"))
        notebook["cells"] = change(notebook["cells"], answer, marks)
        return json.dumps(notebook).encode()

    return changed


def with_answer(cells, i, change):
    return [dict(cell, source=change("".join(cell["source"]))) if k == i else cell for k, cell in enumerate(cells)]


def without_import(source):
    return source.replace("import numpy as np\n", "")


USING_NUMPY = "    dx = np.matmul(dy, W)"


def in_another_cell(cells, answer, marks):
    own = dict(new_code_cell("".join(cells[answer]["source"])))
    blank = 'def linear_backward(dy, cache):\n    raise NotImplementedError("exercise 1, linear_backward")'
    return [*with_answer(cells, answer, lambda source: blank), own]


ODD = {  # what a student did to the first notebook
    "copied": cells_changed(lambda cells, answer, marks: [*cells, cells[marks], cells[marks]]),
    "deleted": cells_changed(lambda cells, answer, marks: [c for i, c in enumerate(cells) if i != marks]),
    "markdown": cells_changed(
        lambda cells, answer, marks: [
            *cells[:marks],
            {"cell_type": "markdown", "metadata": cells[marks]["metadata"], "source": "x"},
        ]
    ),
    "timed": cells_changed(lambda cells, answer, marks: with_answer(cells, answer, lambda s: "%%time\n" + s)),
    "magics": cells_changed(
        lambda cells, answer, marks: with_answer(cells, answer, lambda s: "%matplotlib inline\n!pip list\n" + s)
    ),
    "apart": cells_changed(
        lambda cells, answer, marks: [
            dict(new_code_cell("import numpy as np\nfrom minilora.exercises import check")),
            *with_answer(cells, answer, lambda s: without_import(s).replace("    dx = dy @ W", USING_NUMPY)),
        ]
    ),
    "elsewhere": cells_changed(in_another_cell),
    "no_cell": cells_changed(lambda cells, answer, marks: [c for i, c in enumerate(cells) if i != answer]),
    "list": lambda notebook: b"[1, 2]",
    "numbers": lambda notebook: b'{"cells": [1, {"cell_type": "code", "source": 3, "metadata": {}}]}',
    "deep": lambda notebook: b"[" * 100_000,
    "utf16": lambda notebook: json.dumps(notebook).encode("utf-16"),
    "latin1": lambda notebook: (
        json.dumps(notebook, ensure_ascii=False).replace("import", "# é\\nimport", 1).encode("latin-1")
    ),
    "empty": lambda notebook: b"",
}
FULL = ("copied", "deleted", "markdown", "timed", "magics", "apart")  # these get the marks due


def edit(path, name, source, tests_too):
    """Put an answer into a released notebook, and, on demand, tests that give full marks."""
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        nbgrader = cell["metadata"].get("nbgrader", {})
        if nbgrader.get("solution"):
            cell["source"] = source
        elif nbgrader.get("grade") and tests_too:
            cell["source"], nbgrader["points"] = "2.0", 100
    if tests_too:
        notebook["cells"].insert(0, dict(new_code_cell(PATCH)))
    path.write_text(json.dumps(notebook))


def scores_of(folder):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        return {
            (submission.student.id, notebook.name): notebook.score
            for submission in gradebook.assignment_submissions(course.ASSIGNMENT)
            for notebook in submission.notebooks
        }


def printed_in(folder, student, name):
    path = folder / "autograded" / student / course.ASSIGNMENT / NOTEBOOKS[name]
    outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", ())]
    return "".join("".join(output.get("text", "")) for output in outputs)


@pytest.mark.slow
def test_the_release_holds_no_solution_and_no_hidden_test(graded):
    folder, _ = graded
    for name, file in NOTEBOOKS.items():
        text = (folder / "release" / course.ASSIGNMENT / file).read_text()
        lines = {line.strip() for cell in json.loads(text)["cells"] for line in "".join(cell["source"]).splitlines()}
        assert not lines & set(solution_lines(by_name(name))) and "marks(" not in text
        assert f'raise NotImplementedError("exercise {by_name(name).number}, ' in "\n".join(lines)


@pytest.mark.slow
def test_right_half_right_and_hostile_submissions_get_full_partial_and_no_marks(graded):
    scores = scores_of(graded[0])
    assert {key: score for key, score in scores.items() if key[0] in ("half", "hostile", "endless", "zoe")} == {
        ("half", "01_linear_backward"): pytest.approx(1.33),
        ("half", "03_parameter_counting"): 0.0,
        ("hostile", "01_linear_backward"): 0.0,
        ("hostile", "03_parameter_counting"): 0.0,
        ("endless", "01_linear_backward"): 0.0,
        ("endless", "03_parameter_counting"): 0.0,
        ("zoe", "01_linear_backward"): 2.0,
        ("zoe", "03_parameter_counting"): 2.0,
    }


@pytest.mark.slow
def test_each_is_told_why(graded):
    folder, _ = graded
    assert "Your dx equals 2 times the right one." in printed_in(folder, "half", "linear_backward")
    assert "Still to be written: exercise 3, lora_parameters." in printed_in(folder, "half", "parameter_counting")
    assert "printed more than 64 KB" in printed_in(folder, "hostile", "parameter_counting")
    assert "Is there a loop that never ends?" in printed_in(folder, "endless", "linear_backward")
    assert "Your code called exit()" in printed_in(folder, "endless", "parameter_counting")
    assert "What was shown: " in printed_in(folder, "zoe", "linear_backward")


@pytest.mark.slow
def test_one_damaged_or_odd_notebook_costs_its_own_marks_alone(graded):
    folder, grading_of_all = graded
    assert grading_of_all.returncode == 0, grading_of_all.stderr
    scores = scores_of(folder)
    for student in ("damaged", *ODD):
        assert scores[student, "03_parameter_counting"] == 2.0, student
        assert scores[student, "01_linear_backward"] == (2.0 if student in FULL else 0.0), student


@pytest.mark.slow
def test_who_gets_no_marks_is_told_why(graded):
    folder, grading_of_all = graded
    why = {
        "damaged": "is not a notebook, or it is damaged",
        "list": "is not a notebook, or it is damaged",
        "numbers": "is not a notebook, or it is damaged",
        "deep": "is not a notebook, or it is damaged",
        "empty": "is not a notebook, or it is damaged",
        "utf16": "01_linear_backward.ipynb must be UTF-8",
        "latin1": "01_linear_backward.ipynb must be UTF-8",
        "no_cell": "has no cell for the answer any more",
        "elsewhere": "Another cell defines the function that is asked for",
    }
    assert set(why) == {"damaged", *ODD} - set(FULL)
    for student, reason in why.items():
        assert reason in told_in(folder, student, "linear_backward"), student
    assert "submitted/utf16/lora/01_linear_backward.ipynb" in grading_of_all.stderr.replace("\\", "/")
    assert "Imports from other cells were put above the answer" in told_in(folder, "apart", "linear_backward")


def told_in(folder, student, name):
    path = folder / "autograded" / student / course.ASSIGNMENT / NOTEBOOKS[name]
    return "\n".join(
        "".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "markdown"
    )


@pytest.mark.slow
def test_a_course_can_be_built_again_after_grading(graded, capsys, monkeypatch):
    folder, _ = graded
    before = {path.name: path.read_text() for path in (folder / "release" / course.ASSIGNMENT).iterdir()}
    monkeypatch.setattr("sys.argv", ["course", str(folder), "1", "2", "9"])
    course.main()
    assert {path.name for path in (folder / "release" / course.ASSIGNMENT).iterdir()} == set(before)
    said = capsys.readouterr().out
    assert "Something was handed in already, so the exercises stay 1 3." in said and "OTHER_FOLDER 1 2 9" in said
    assert scores_of(folder)["zoe", "01_linear_backward"] == 2.0


@pytest.mark.slow
def test_a_release_that_fails_leaves_the_one_before(graded, monkeypatch):
    folder, _ = graded
    before = {path.name for step in ("release", "source") for path in (folder / step / course.ASSIGNMENT).iterdir()}
    monkeypatch.setattr(course, "handed_in", lambda folder: [])  # as if the gradebook could not be asked
    with pytest.raises(RuntimeError, match="nbgrader could not make the release"):
        course.build(folder, ["2"])
    after = {path.name for step in ("release", "source") for path in (folder / step / course.ASSIGNMENT).iterdir()}
    assert after == before


@pytest.mark.slow
def test_the_students_own_code_is_in_the_feedback(graded):
    folder, _ = graded
    done = course.nbgrader(folder, "generate_feedback", course.ASSIGNMENT, "--student=half")
    assert done.returncode == 0, done.stderr
    page = (folder / "feedback" / "half" / course.ASSIGNMENT / "01_linear_backward.html").read_text()
    text = re.sub(r"<[^>]+>", "", page)
    assert "dx = 2 * dy @ W" in text and "Your dx equals 2 times the right one." in text
