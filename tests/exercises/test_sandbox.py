"""An answer that loops, prints, exits, crashes or meddles fails, with a message that says so; and nothing else does."""

import os

import pytest

from exercises.answers import NAMES, by_name
from minilora.exercises.checking import check, check_answer, marks
from minilora.exercises.sandbox import run_answer
from minilora.exercises.sources import student_file
from minilora.exercises.tasks import TASKS

NAME = "linear_backward"
SOLUTION = by_name(NAME).solution
HOSTILE = {
    "import time\nprint('before')\ntime.sleep(1000)": "was stopped after 5 seconds. Is there a loop that never ends",
    "while True: print('x' * 1000)": "printed more than 64 KB",
    "exit()": "called exit()",
    "import os\nos._exit(0)": "ended the Python process before it had returned",
    "import os\nos.abort()": "crashed the Python process (SIGABRT)",
    "x = ' ' * (1 << 40)": "ran out of memory in line 1",
    "def f(): return f()\nf()": "calls itself without an end in line 1",
    "def f(:": "Line 1 is no Python: 'def f(:'",
    "y = dy @ W": "raised NameError in line 1, `y = dy @ W`: name 'dy' is not defined",
    "x = 1": "There is no function linear_backward in your file",
    "import os\nos.kill(os.getppid(), 9)": "tried to start or to end a process (os.kill)",
    "import subprocess\nsubprocess.run(['true'])": "tried to start or to end a process (subprocess.Popen)",
    "import numpy\nopen(numpy.__file__, 'a')": "an answer computes and leaves files alone",
}


@pytest.mark.parametrize(("source", "said"), HOSTILE.items(), ids=lambda value: value[:30])
def test_a_hostile_answer_is_stopped_and_told_why(source, said):
    outcome = run_answer(NAME, TASKS[NAME], source, seed=0, waiting=60 if "sleep" not in source else 5)
    assert not outcome.answers and said in outcome.error


def test_a_loop_is_stopped_by_the_processors_time():
    outcome = run_answer(NAME, TASKS[NAME], "while True: pass", seed=0, computing=2, waiting=120)
    assert "was stopped after 2 seconds. Is there a loop that never ends?" in outcome.error


def test_edited_tests_change_nothing():
    """The judge is another process: what an answer does to its own copy of the checker stays there."""
    meddling = (
        "import sys\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('minilora.exercises'):\n"
        "        for attribute in ('judge', 'run', 'check_answer', 'marks'):\n"
        "            setattr(module, attribute, lambda *a, **k: {})\n"
        "def linear_backward(dy, cache): return 0.0, 0.0, 0.0\n"
    )
    verdict = check_answer(NAME, meddling)
    assert not verdict.passed and verdict.right == 0


def test_an_answer_that_imports_the_package_is_refused():
    verdict = check_answer(NAME, "import numpy\nfrom minilora.ops import linear_backward")
    assert not verdict.passed and "Line 2 imports minilora. Here you write it yourself" in verdict.report


def test_the_solution_passes_and_says_what_was_shown():
    verdict = check_answer(NAME, "print('so far so good')\n" + SOLUTION)
    assert verdict.passed and verdict.right == verdict.total == 3
    assert "dW: right" in verdict.report and "What was shown: " in verdict.report
    assert verdict.report.endswith("Your code printed:\n  so far so good")


def test_a_wrong_tensor_is_told_with_the_mistake_that_it_equals():
    verdict = check_answer(NAME, SOLUTION.replace("dbias = dy_rows.sum(axis=0)", "dbias = dy_rows.mean(axis=0)"))
    assert not verdict.passed and (verdict.right, verdict.total) == (2, 3)
    assert "dbias: wrong\n      Your dbias equals the mean over the rows, where their sum belongs." in verdict.report
    assert "What was shown" not in verdict.report


def test_the_blank_is_told_what_is_to_be_written():
    assert "Still to be written: exercise 1, linear_backward." in check_answer(NAME, student_file(by_name(NAME))).report


def test_long_output_is_cut():
    report = check_answer(NAME, "for i in range(50): print(i)\n" + SOLUTION).report
    assert "  9\n  ... and 40 lines more" in report and "\n  10\n" not in report


def test_in_a_notebook_the_whole_cell_of_a_function_is_checked(tmp_path, capsys):
    path = tmp_path / "cell.py"
    path.write_text(SOLUTION)
    cell = {"__name__": "cell"}
    exec(compile(SOLUTION, str(path), "exec"), cell)
    check(NAME, cell[NAME])
    assert "Exercise 1, linear_backward: passed" in capsys.readouterr().out


def test_marks_are_the_part_of_the_points_that_is_right(capsys):
    assert marks(NAME, SOLUTION, points=3, seed=5) == 3
    assert marks(NAME, SOLUTION.replace("dx = dy @ W", "dx = 2 * dy @ W"), points=3, seed=5) == 2
    assert marks(NAME, "exit()", points=3, seed=5) == 0
    assert "Your dx equals 2 times the right one." in capsys.readouterr().out


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    check_answer(NAME, "open('mine.txt', 'w').write('allowed here')\n" + SOLUTION)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_solution_passes_in_its_own_process(name):
    assert check_answer(name, by_name(name).solution, seed=3).passed
