"""`minilora exercises`: what it writes, what it prints, and what it remembers."""

import json
import re
from pathlib import Path

import pytest

from exercises.answers import by_name
from minilora.cli import main
from minilora.cli.exercises import next_one
from minilora.cli.verbs import parse
from minilora.exercises import progress
from minilora.exercises.sources import SHORT_PATH, exercises, student_file

PAGES = Path(__file__).resolve().parents[2] / "tutorials" / "exercises"
STUDENTS, TEACHERS = (PAGES / name for name in ("README.md", "TEACHING.md"))


@pytest.fixture
def minilora(tmp_path, capsys):
    """Run ``minilora exercises ...`` in a folder; gives the status and what was printed."""

    def run(*arguments):
        status = main(["exercises", *map(str, arguments), "--folder", str(tmp_path)])
        return status, "".join(capsys.readouterr())

    return run


def solve(folder, exercise):
    (folder / exercise.file_name).write_text(exercise.solution)


def test_the_way_through_the_first_exercise(minilora, tmp_path):
    status, printed = minilora("start")
    path = tmp_path / "01_linear_backward.py"
    assert status == 0 and path.read_text() == student_file(by_name("linear_backward"))
    assert f"minilora exercises check 1 --folder {tmp_path}" in printed

    status, printed = minilora("check", 1)
    assert status == 1 and "Still to be written: exercise 1, linear_backward." in printed and "hint 1" in printed

    solve(tmp_path, by_name("linear_backward"))
    status, printed = minilora("check", 1)
    assert status == 0 and "What was shown: " in printed and "minilora exercises start 2" in printed
    assert progress.load(tmp_path)["linear_backward"] == progress.FRESH | {"passed": True, "checks": 2}

    _, printed = minilora("list")
    assert re.search(r" 1  linear_backward +\* +20 +2 +passed", printed) and "1 of 22 passed" in printed
    assert "lora_linear_forward" in minilora("start")[1]


def test_check_without_a_number_takes_the_first_that_was_begun_and_not_passed(minilora, tmp_path):
    assert "there is no 01_linear_backward.py" in minilora("check")[1]
    minilora("start", 5)
    minilora("start", 8)
    assert "exercise 5, softmax_backward" in minilora("check")[1]
    solve(tmp_path, by_name("softmax_backward"))
    assert "Exercise 5, softmax_backward: passed" in minilora("check")[1]
    assert "exercise 8, merge" in minilora("check")[1]


def test_the_list_shows_tries_and_hints_in_80_columns(minilora):
    minilora("start", 2)
    for _ in range(3):
        minilora("check")
    minilora("hint", 2)
    _, printed = minilora("list")
    assert re.search(r" 2  lora_linear_forward +\* +10 +3 +1 +begun\n", printed)
    assert max(len(line) for line in printed.splitlines() if "--folder" not in line) <= 80


def test_the_short_path_leads_to_lora(minilora, tmp_path):
    numbers = []
    for name in SHORT_PATH:
        printed = minilora("start", "--short")[1]
        numbers.append(int(re.search(r": exercise (\d+),", printed)[1]))
        solve(tmp_path, by_name(name))
        status, printed = minilora("check", "--short")
        assert status == 0
    assert numbers == [1, 2, 7, 8, 9] and "The next one" not in printed
    printed = minilora("list", "--short")[1]
    assert "5 of 5 passed" in printed and "adamw_step" not in printed
    assert "5 of 22 passed" in minilora("list")[1]
    assert "the exercise was 3, and the path says which one is next" in minilora("start", 3, "--short")[1]


def test_progress_from_an_older_minilora_is_understood(minilora, tmp_path):
    old = {"linear_backward": {"passed": True, "checks": 4, "hints": 2, "solution_seen": False}}
    (tmp_path / "progress.json").write_text(json.dumps(old))
    _, printed = minilora("list")
    assert re.search(r" 1  linear_backward +\* +20 +4 +2 +passed", printed)


def test_an_exercise_passes_while_all_later_ones_are_blank(minilora, tmp_path):
    for exercise in exercises():
        minilora("start", exercise.number)
    solve(tmp_path, by_name("lora_linear_forward"))
    assert minilora("check", 2)[0] == 0
    assert minilora("check", 3)[0] == 1


@pytest.mark.slow
def test_each_exercise_passes_in_turn_while_all_later_ones_are_blank(minilora, tmp_path):
    for exercise in exercises():
        minilora("start", exercise.number)
    for exercise in exercises():
        solve(tmp_path, exercise)
        assert minilora("check", exercise.number)[0] == 0
        if exercise.number < len(exercises()):
            assert minilora("check", exercise.number + 1)[0] == 1


def test_starting_again_keeps_what_was_written(minilora, tmp_path):
    solve(tmp_path, by_name("merging"))
    _, printed = minilora("start", "merging")
    assert "exists already, and is left unchanged" in printed
    assert (tmp_path / "08_merging.py").read_text() == by_name("merging").solution


def test_hints_get_stronger_and_the_last_one_stays(minilora):
    hints = by_name("linear_backward").hints
    for n in (1, 2, 3, 3):
        _, printed = minilora("hint", 1)
        assert f"Hint {n} of 3" in printed and hints[n - 1] in printed


def test_a_reset_keeps_the_old_file_and_begins_anew(minilora, tmp_path):
    solve(tmp_path, by_name("linear_backward"))
    minilora("hint", 1)
    _, printed = minilora("reset", 1)
    assert (tmp_path / "01_linear_backward.py").read_text() == student_file(by_name("linear_backward"))
    assert (tmp_path / "01_linear_backward.py.before-reset").read_text() == by_name("linear_backward").solution
    assert "before-reset" in printed and progress.load(tmp_path)["linear_backward"] == progress.FRESH


def test_a_second_reset_keeps_what_the_first_one_kept(minilora, tmp_path):
    for n in range(3):
        (tmp_path / "01_linear_backward.py").write_text(f"answer {n}")
        minilora("reset", 1)
    kept = sorted(path for path in tmp_path.iterdir() if "before-reset" in path.name)
    assert [path.read_text() for path in kept] == ["answer 0", "answer 1", "answer 2"]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_an_answer_in_another_encoding_is_said_in_one_line(minilora, tmp_path, encoding):
    (tmp_path / "01_linear_backward.py").write_bytes("# é".encode(encoding))
    status, printed = minilora("check", 1)
    assert status == 2 and printed.count("\n") == 1 and "01_linear_backward.py must be UTF-8" in printed


def test_the_solution_is_shown_and_remembered(minilora, tmp_path):
    _, printed = minilora("solution", 8)
    assert by_name("merging").solution.strip() in printed and "SOLUTION" not in printed
    assert progress.load(tmp_path)["merging"]["solution_seen"]


def test_a_notebook_is_started_checked_and_reset(minilora, tmp_path):
    pytest.importorskip("jupytext")
    minilora("start", 8, "--notebook")
    path = tmp_path / "08_merging.ipynb"
    notebook = json.loads(path.read_text())
    assert "Still to be written: exercise 8, merge." in minilora("check", 8)[1]
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["source"] = by_name("merging").solution
    path.write_text(json.dumps(notebook))
    assert minilora("check", 8)[0] == 0
    minilora("reset", 8)
    assert "raise NotImplementedError" in path.read_text()


@pytest.mark.parametrize(
    ("path", "called", "typed"),
    [
        ("", ".venv/bin/minilora", ".venv/bin/minilora"),
        ("bin", "{}/bin/minilora", "minilora"),
        ("", "{}/minilora/__main__.py", "minilora"),
    ],
)
def test_what_to_type_next_begins_as_what_was_typed(minilora, tmp_path, monkeypatch, path, called, typed):
    script = tmp_path / "bin" / "minilora"
    script.parent.mkdir()
    script.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / path) if path else "")
    monkeypatch.setattr("sys.argv", [called.format(tmp_path)])
    _, printed = minilora("start", 1)
    assert f":  {typed} exercises check 1 --folder {tmp_path}\n" in printed


def test_when_all_are_passed_the_last_one_is_next(tmp_path):
    for exercise in exercises():
        progress.record(tmp_path, exercise.name, passed=True)
    assert next_one(tmp_path) == exercises()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hint",), "which exercise? For example:  minilora exercises hint 1"),
        (("check", "99"), "the exercise was '99'; it must be a number from 1 to 22, or a name in the list"),
        (("check", "2"), "there is no 02_lora_linear_forward.py in"),
    ],
)
def test_a_mistake_is_said(minilora, arguments, said):
    status, printed = minilora(*arguments)
    assert status == 2 and said in printed


def test_a_damaged_progress_file_is_said(minilora, tmp_path):
    (tmp_path / "progress.json").write_text("[1]")
    status, printed = minilora("list")
    assert status == 2 and "progress.json is damaged" in printed and "your answers stay" in printed


@pytest.mark.parametrize("command", re.findall(r"^(minilora .*?)(?:  +#.*)?$", STUDENTS.read_text(), re.MULTILINE))
def test_a_command_of_the_students_page_is_understood(command):
    parse(command.split()[1:])


def test_the_students_page_has_each_exercise_beside_its_notebook():
    rows = re.findall(r"^\| ([\d, ]+) \| .+? \| \[.+?\]\(\.\./(\w+)\.ipynb\) \|$", STUDENTS.read_text(), re.MULTILINE)
    beside = {int(number): notebook for numbers, notebook in rows for number in numbers.split(",")}
    named = {e.number: re.search(r"`tutorials/(\w+)\.ipynb`", e.cells[0].markdown)[1] for e in exercises()}
    assert beside == named


def test_the_files_that_the_teachers_page_names_exist():
    root = PAGES.parents[1]
    named = re.findall(r"`(minilora/[a-z/_]+\.py)`", TEACHERS.read_text().replace("/name.py", "/merging.py"))
    assert named and all((root / path).is_file() for path in named)
