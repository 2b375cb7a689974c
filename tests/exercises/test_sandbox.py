"""An answer that loops, prints, exits, crashes or meddles fails, with a message that says so; and nothing else does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
    "def f(): return f()\nf()": "calls itself endlessly in line 1",
    "def f(:": "Line 1 is not Python: 'def f(:'",
    "y = dy @ W": "raised NameError in line 1, `y = dy @ W`: name 'dy' is not defined",
    "x = 1": "There is no function linear_backward in your file",
    "import os\nos.kill(os.getppid(), 9)": "tried to start or to end a process (os.kill)",
    "import subprocess\nsubprocess.run(['true'])": "tried to start or to end a process (subprocess.Popen)",
    "import numpy\nopen(numpy.__file__, 'a')": "an answer computes and leaves files alone",
}


@pytest.mark.parametrize(("source", "said"), HOSTILE.items(), ids=lambda value: value[:30])
def test_a_hostile_answer_is_stopped_and_told_why(source, said):
    outcome = run_answer(source, TASKS[NAME].calls_for(0), waiting=60 if "sleep" not in source else 5)
    problems = [str(result.problem) for result in outcome.results]
    assert not any(result.values for result in outcome.results) and said in " ".join((outcome.error, *problems))


def test_a_loop_is_stopped_by_the_processors_time():
    outcome = run_answer("while True: pass", TASKS[NAME].calls_for(0), computing=2, waiting=120)
    assert "was stopped after 2 seconds. Is there a loop that never ends?" in outcome.error


def test_meddling_with_the_runner_gives_no_marks():
    """The judge is another process: what an answer does to its own copy of the runner stays there."""
    meddling = (
        "import sys\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('runner'):\n"
        "        for attribute in ('perform', 'explain', 'encode', 'AnswerError'):\n"
        "            setattr(module, attribute, lambda *a, **k: {})\n"
        "def linear_backward(dy, cache): return 0.0, 0.0, 0.0\n"
    )
    verdict = check_answer(NAME, meddling)
    assert not verdict.passed and verdict.right == 0


def test_results_that_the_answer_writes_itself_are_results_of_its_own():
    forged = "import os\nopen('results.json', 'w').write({!r})\nos._exit(0)"
    for text in ('{"error": "", "results": []}', "[" * 100_000, '{"error": null, "results": [1]}', "x" * (5 << 20)):
        verdict = check_answer(NAME, forged.format(text))
        assert not verdict.passed and "Your code " in verdict.report


# ---- the solution is not there

PACKAGE = Path(sys.modules["minilora"].__file__).parent
SOURCE = PACKAGE.parent / "tutorials" / "exercises" / "01_linear_backward.py"
READING = f"print(open({str(SOURCE)!r}).read())"
WAYS_ROUND = {
    "a byte-order mark": "\ufefffrom minilora.ops import linear_backward",
    "__import__": "m = __import__('mini' + 'lora.ops')",
    "importlib": "import importlib\nm = importlib.import_module('mini' + 'lora.ops')",
    "exec": "exec('import mini' + 'lora.ops')",
    "a longer path": f"import sys\nsys.path.append({str(PACKAGE.parent)!r})\n__import__('minilora.ops')",
    "a loader": "import importlib.util as util\n"
    f"spec = util.spec_from_file_location('x', {str(PACKAGE / 'ops' / 'linear.py')!r})\n"
    "spec.loader.exec_module(util.module_from_spec(spec))",
    "sys.modules": "import sys\nsys.modules['minilora.ops']",
    "sys.modules, by any name": "import sys\n[m for m in sys.modules.values() if 'minilora' in (m.__file__ or '')][0]",
    "reading the solution": READING,
    "reading it by a relative path": "import os\nopen(os.path.relpath('/etc/hostname'))",
    "reading it by os": f"import os\nos.open({str(SOURCE)!r}, os.O_RDONLY)",
    "reading it by NumPy": f"import numpy\nnumpy.fromfile({str(SOURCE)!r}, 'u1')",
    "reading it by io": f"import io\nio.FileIO({str(SOURCE)!r})",
    "running it": f"import runpy\nrunpy.run_path({str(SOURCE)!r})",
    "a link": f"import os\nos.symlink({str(SOURCE)!r}, 'link')",
    "another folder": f"import os\nos.chdir({str(SOURCE.parent)!r})",
    "other functions for the guard": "import os, posixpath\n"
    f"os.path.realpath = os.path.abspath = posixpath.join = lambda *p: os.getcwd()\n{READING}",
    "other builtins for the guard": f"import builtins\nbuiltins.any = builtins.len = lambda *a: True\n{READING}",
    "a path that lies": "class Path(str):\n    def startswith(self, *a): return True\n    split = lambda *a: []\n"
    f"open(Path({str(SOURCE)!r}))",
    "a path equal to all": "class Path(str):\n    __eq__ = lambda *a: True\n    __hash__ = str.__hash__\n"
    f"open(Path({str(SOURCE)!r}))",
    "a number that is a path": f"class Path(int):\n    __fspath__ = lambda self: {str(SOURCE)!r}\nopen(Path(10**30))",
    "the guard's own cells": "try:\n    open('/etc/hostname')\nexcept OSError as error:\n    t = error.__traceback__\n"
    "    while t.tb_next: t = t.tb_next\n    guard = t.tb_frame.f_locals['may_read']\n"
    f"    assert not guard.__closure__\n    guard.__defaults__ = (lambda *a: True,)\n{READING}",
    "the guard's own code": "try:\n    open('/etc/hostname')\nexcept OSError as error:\n    t = error.__traceback__\n"
    "    while t.tb_next: t = t.tb_next\n    guard = t.tb_frame.f_locals['may_read']\n"
    f"    guard.__code__ = (lambda *a: True).__code__\n{READING}",
    "the guard's tables": "import sys\nguard = sys.modules['runner.guard']\nguard.PATHS.clear()\n"
    f"guard.PACKAGES = guard.NOT_FOR_ANSWERS = ()\nguard.Forbidden = KeyError\n{READING}",
    "what the collector knows": "import gc\ngc.get_objects()",
    "C": "import ctypes\nctypes.pythonapi.Py_GetVersion()",
    "a database": "import sqlite3\nsqlite3.connect('x.db')",
    "the memory of the judge": "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb')",
}


@pytest.mark.parametrize("source", WAYS_ROUND.values(), ids=WAYS_ROUND.keys())
def test_the_solution_cannot_be_reached(source):
    """Each stops before its last line, so that the right answer behind it counts for nothing."""
    verdict = check_answer(NAME, f"{source}\nprint('reached')\n{SOLUTION}")
    assert not verdict.passed and verdict.right == 0 and "\n  reached" not in verdict.report, verdict.report


def test_frames_hold_calls_and_nothing_that_is_right():
    looking = (
        "import sys\n"
        "def linear_backward(dy, cache):\n"
        "    frame, names = sys._getframe(), set()\n"
        "    while frame:\n"
        "        names |= set(frame.f_locals) | set(frame.f_globals)\n"
        "        frame = frame.f_back\n"
        "    print([name for name in names if 'expect' in name or 'right' in name or 'TASK' in name])\n"
        "    raise KeyError('seen')\n"
    )
    assert "Your code printed:\n  []\n" in check_answer(NAME, looking).report


def test_a_module_that_is_not_there_is_explained():
    report = check_answer(NAME, "import scipy.linalg\n" + SOLUTION).report
    assert "No module named 'scipy'. An answer is Python and NumPy only." in report


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="kills a process")
def test_an_answer_does_not_outlive_the_check_that_started_it(tmp_path):
    """The check is killed while the answer sleeps: the answer's process ends too."""
    mark = tmp_path / "pid"
    code = (
        "from minilora.exercises.sandbox import *\nimport minilora.exercises.sandbox as s\n"
        "old = s._read\nimport subprocess\npopen = subprocess.Popen\n"
        "def noted(*a, **k):\n    p = popen(*a, **k)\n"
        f"    open({str(mark)!r}, 'w').write(str(p.pid))\n    return p\n"
        "s.subprocess.Popen = noted\nrun_answer('import time\\ntime.sleep(600)', [])"
    )
    check = subprocess.Popen([sys.executable, "-c", code], cwd=PACKAGE.parent)
    waited_for(lambda: mark.exists() and mark.read_text())
    worker = int(mark.read_text())
    time.sleep(1.0)  # the answer is asleep by now
    check.send_signal(signal.SIGKILL)
    check.wait()
    waited_for(lambda: not is_running(worker))


def waited_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid):
    """Whether a process is there, and not only waiting for its parent to ask how it ended."""
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


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


def test_what_goes_wrong_in_many_calls_is_said_once_and_the_mistake_is_named_all_the_same():
    source = by_name("softmax_backward").solution.replace("axis=-1, keepdims=True", "axis=-1")
    report = check_answer("softmax_backward", source).report
    assert report.count("could not be broadcast") == 1 and "at  probs of shape (2, 3, 5)" in report
    assert "Your dx equals the one without `keepdims=True`" in report


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


def test_a_cell_with_a_magic_above_the_answer_is_checked(capsys):
    """As Jupyter runs it: `%%time` leaves a function that has no file."""
    pytest.importorskip("IPython")
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import __main__\n"
        "shell = InteractiveShell.instance(user_module=__main__)\n"
        f"shell.run_cell('%%time\\n' + {SOLUTION!r}, store_history=True)\n"
        f"shell.run_cell({f'from minilora.exercises import check; check({NAME!r}, {NAME})'!r}, store_history=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=False)
    assert "Exercise 1, linear_backward: passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("answer", [None, 3, [SOLUTION]])
def test_what_is_no_function_is_refused(answer):
    with pytest.raises(TypeError, match="answer was .*; it must be the function that the answer's cell defines"):
        check(NAME, answer)


def test_a_function_without_code_is_refused():
    function = {}
    exec("def linear_backward(): ...", function)
    with pytest.raises(ValueError, match="the code of linear_backward was not found"):
        check(NAME, function["linear_backward"])


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
