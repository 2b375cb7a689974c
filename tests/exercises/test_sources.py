"""The sources of the exercises are whole, and what students get is generated from them without a line of a solution."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from exercises.answers import NAMES, by_name, solution_lines
from minilora.exercises import sources
from minilora.exercises.notebooks import answer_in, student_notebook
from minilora.exercises.notebooks import without_magics as sources_without_magics
from minilora.exercises.sources import exercises, find, student_file
from minilora.exercises.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
SHAPE = re.compile(r"\((\.\.\.|[A-Za-z\d]+)(, .*?)?\)")


def metadata_of(cell):
    """The nbgrader metadata in a cell's first line."""
    return json.loads(re.search(r"nbgrader=(\{.*\})", cell.marker)[1])


def test_there_is_a_task_for_each_source_in_the_same_order():
    assert [exercise.name for exercise in exercises()] == NAMES and len(NAMES) >= 12
    assert [exercise.number for exercise in exercises()] == list(range(1, len(NAMES) + 1))


def test_they_go_from_easy_to_hard():
    difficulties = [exercise.difficulty for exercise in exercises()]
    lora, llama, others = difficulties[:16], difficulties[16:19], difficulties[19:]  # Llama's parts begin anew
    assert others == sorted(others)
    assert lora == sorted(lora) and lora[0] == 1 and lora[-1] == 5 and llama == sorted(llama)


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_has_all_that_it_needs(name):
    exercise = by_name(name)
    head = exercise.cells[0].markdown
    assert "**Goal.**" in head and "**Formula.**" in head
    assert SHAPE.search(head.split("**Formula.**")[1]) or "have the same shape" in head
    assert 5 <= exercise.minutes <= 60
    assert len(exercise.hints) == 3 and all(len(hint) > 40 for hint in exercise.hints)
    assert exercise.shown.startswith("What was shown: ")
    defined = {node.name for node in ast.walk(ast.parse(exercise.solution)) if isinstance(node, ast.FunctionDef)}
    assert defined == set(TASKS[name].functions)
    assert all(len(line) <= 120 for cell in exercise.cells for line in cell.text.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_the_cells_for_nbgrader_are_those_of_this_exercise(name):
    exercise = by_name(name)
    (answer,) = [cell for cell in exercise.cells if cell.has("solution")]
    (marks,) = [cell for cell in exercise.cells if cell.has("grade")]
    (check,) = [cell for cell in exercise.cells if cell.has("check")]
    assert metadata_of(answer)["grade_id"] == name
    points = metadata_of(marks)["points"]
    assert points == 2 * exercise.difficulty and metadata_of(marks)["locked"]
    call = rf'marks\("{name}", {next(iter(TASKS[name].functions))}, points={points}, seed=\d+\)'
    assert re.search(rf"### BEGIN HIDDEN TESTS\n[^#]*{call}\n### END HIDDEN TESTS", marks.text)
    assert f'check("{name}", ' in check.text


@pytest.mark.parametrize("name", NAMES)
def test_a_students_file_holds_no_line_of_the_solution_nor_a_hint(name):
    exercise = by_name(name)
    text = student_file(exercise)
    assert solution_lines(exercise)
    assert not {line.strip() for line in text.splitlines()} & set(solution_lines(exercise))
    for secret in (*exercise.hints, exercise.shown, "SOLUTION", "HIDDEN", "nbgrader", "marks("):
        assert secret.splitlines()[0] not in text
    blanks = 0 if exercise.mends else len(TASKS[name].functions)
    assert exercise.title in text and text.count("raise NotImplementedError") == blanks


@pytest.mark.parametrize("name", NAMES)
def test_a_students_notebook_holds_no_line_of_the_solution_nor_a_hint(name, tmp_path):
    pytest.importorskip("jupytext")
    exercise = by_name(name)
    text = student_notebook(exercise)
    notebook = json.loads(text)
    lines = {line.strip() for cell in notebook["cells"] for line in cell["source"]}
    assert not lines & set(solution_lines(exercise))
    assert exercise.hints[0].splitlines()[0] not in lines and "SOLUTION" not in text and "marks(" not in text
    path = tmp_path / "answer.ipynb"
    path.write_text(text)
    blank = f'raise NotImplementedError("exercise {exercise.number}, '
    assert (blank in answer_in(path).source) is not exercise.mends


def test_a_notebook_without_the_answers_cell_is_refused(tmp_path):
    path = tmp_path / "01_linear_backward.ipynb"
    path.write_text('{"cells": []}')
    with pytest.raises(ValueError, match="no cell for the answer any more"):
        answer_in(path)
    for damaged in ("nothing", "[]", '{"cells": 3}', '{"cells": [1]}', '{"cells": [{"source": 1}]}', "[" * 100_000):
        path.write_text(damaged)
        with pytest.raises(ValueError, match="is not a notebook, or it is damaged") as problem:
            answer_in(path)
        assert len(str(problem.value).splitlines()) == 1 and len(str(problem.value)) < 400


@pytest.mark.parametrize("suffix", [".py", ".ipynb"])
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_refused_by_its_name(tmp_path, suffix, encoding):
    path = tmp_path / f"01_linear_backward{suffix}"
    path.write_bytes("# é".encode(encoding))
    with pytest.raises(ValueError, match=rf"01_linear_backward{suffix} must be UTF-8"):
        answer_in(path)


def test_a_byte_order_mark_is_no_part_of_the_answer(tmp_path):
    path = tmp_path / "01_linear_backward.py"
    path.write_bytes(b"\xef\xbb\xbfx = 1")
    assert answer_in(path).source == "x = 1"


def notebook_of(path, *cells):
    """A notebook with the cells (source, is it the answer's)."""
    about = {"nbgrader": {"grade_id": "linear_backward", "solution": True}}
    made = [{"cell_type": "code", "source": s, "metadata": about if is_answer else {}} for s, is_answer in cells]
    path.write_text(json.dumps({"cells": made}))
    return path


def test_imports_of_other_cells_come_along(tmp_path):
    other = (
        "%matplotlib inline\nimport numpy as np, matplotlib.pyplot as plt\nfrom minilora.exercises import check\nx = 1"
    )
    path = notebook_of(tmp_path / "a.ipynb", (other, False), ("def linear_backward(): ...", True))
    assert answer_in(path).source == "import numpy as np\ndef linear_backward(): ..."
    assert "Imports from other cells" in answer_in(path).notes[0]


def test_of_two_cells_for_the_answer_the_last_one_that_is_written_counts(tmp_path):
    blank = "def f():\n    raise NotImplementedError('exercise 1, f')"
    path = notebook_of(tmp_path / "a.ipynb", ("first", True), ("second", True), (blank, True))
    assert answer_in(path).source == "second" and "There are 3 cells for the answer" in answer_in(path).notes[0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%%time\nx = 1", "# %%time\nx = 1"),
        ("%matplotlib inline\n!pip list\nnp.dot?\nx = 1", "# %matplotlib inline\n# !pip list\n# np.dot?\nx = 1"),
        ("x = (7\n% 2)", "x = (7\n% 2)"),
        ("%%time\nx = (", "%%time\nx = ("),
        ("x = 1", "x = 1"),
    ],
)
def test_magics_become_comments_where_that_makes_it_python(source, expected):
    assert sources_without_magics(source) == expected


@pytest.mark.parametrize("which", [9, "9", "lora_linear_backward"])
def test_an_exercise_is_found_by_number_or_name(which):
    assert find(which).name == "lora_linear_backward"


@pytest.mark.parametrize("which", ["23", "0", "nothing", ""])
def test_an_exercise_that_does_not_exist_is_refused(which):
    with pytest.raises(ValueError, match=f"the exercise was {which!r}; it must be a number from 1 to 22"):
        find(which)


def test_sources_that_a_wheel_has_put_into_the_package_come_first(tmp_path, monkeypatch):
    here = tmp_path / "minilora" / "exercises" / "sources.py"
    (here.parent / "sources").mkdir(parents=True)
    monkeypatch.setattr(sources, "__file__", str(here))
    assert sources.folder() == here.parent / "sources"


def test_a_wheel_brings_the_sources_along():
    project = tomllib.loads((sources.folder().parents[1] / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"tutorials/exercises": "minilora/exercises/sources"}


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_names_its_notebook_and_the_notebook_names_the_exercise(name):
    exercise = by_name(name)
    named = re.search(r"tutorial (\d+), (.+) \(`tutorials/(\w+)\.ipynb`\)", exercise.cells[0].markdown)
    notebook = (ROOT / "tutorials" / f"{named[3]}.py").read_text()
    assert f"# # {named[1]}. {named[2]}\n" in notebook
    following = re.search(r"^# \*\*Next\.\*\* (.+\n(?:# \S.*\n)*)", notebook, re.MULTILINE)[1]
    numbers = re.search(
        r"\[(?:the )?exercises?\]?(?:\(exercises/README\.md\))? ([\d, and]+)", following, re.IGNORECASE
    )[1]
    assert str(exercise.number) in re.findall(r"\d+", numbers)
