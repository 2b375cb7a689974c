"""Exercises and the first three tutorials where nothing starts threads or processes or takes signals: in a browser.

`sitecustomize.py` beside this makes such a Python. It is chosen by itself: no option says so.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minilora.exercises.runner.here import GIVEN_UP

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent

FORBIDDEN = """
import os, signal, subprocess, sys, threading
assert sys.platform == "emscripten"
for attempt in (
    lambda: threading.Thread(target=print).start(),
    lambda: subprocess.run(["true"]),
    lambda: os.fork(),
    lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
):
    try:
        attempt()
    except (RuntimeError, OSError, ValueError):
        continue
    sys.exit("it was done")
"""
EXERCISES = """
from minilora.exercises.checking import check_answer
from minilora.exercises.sources import exercises, student_file
from minilora.exercises.tasks import TASKS
for exercise in exercises():
    right = check_answer(exercise.name, exercise.solution)
    assert right.passed and right.report.endswith({given_up!r}), right.report
    blank = check_answer(exercise.name, student_file(exercise))
    given = student_file(exercise)
    assert not blank.passed, blank.report
    assert "Still to be written" in blank.report or "NotImplementedError" not in given, blank.report
    print(exercise.name)
"""
ANSWERS = """
from minilora.exercises import sandbox
from minilora.exercises.sources import find
from minilora.exercises.tasks import TASKS
calls = TASKS["linear_backward"].calls_for(0)
for source, said in {answers!r}.items():
    outcome = sandbox.run_answer(source, calls, computing=1)
    problems = [str(result.problem) for result in outcome.results]
    assert any(said in text for text in (outcome.error, *problems)), (source, outcome.error, problems)
right = sandbox.run_answer(find("linear_backward").solution + "\\nprint('seen')", calls)
assert not right.error and right.printed == "seen\\n", right
"""
HOSTILE = {
    "while True: pass": "was stopped after 1 seconds. Is there a loop that never ends",
    "def linear_backward(dy, cache):\n    while True:\n        dy = dy + 1": "was stopped after 1 seconds",
    "while True: print('x' * 1000)": "printed more than 64 KB",
    "exit()": "called exit()",
    "def f(): return f()\nf()": "calls itself endlessly in line 1",
    "def f(:": "Line 1 is not Python: 'def f(:'",
    "y = dy @ W": "raised NameError in line 1, `y = dy @ W`: name 'dy' is not defined",
    "x = 1": "There is no function linear_backward in your file",
    "raise ValueError('as you like')": "raised ValueError in line 1",
    "import threading\nthreading.Thread(target=print).start()": "RuntimeError in line 2",
}
TRAINING = """
import numpy as np
from minilora import LoRAConfig, apply_lora, load_bundled
from minilora.data import load_task
from minilora.experiments.measure import measure
from minilora.training import TrainConfig, Trainer, evaluate_loss
model = load_bundled("decoder")
task = load_task("mini-e2e", length=model.config.n_positions, n_train=40, n_held_out=96)
apply_lora(model, LoRAConfig(rank=2), rng=np.random.default_rng(0))
trainer = Trainer(model, lambda rng: task.sample_batch(rng, 2), TrainConfig(steps=2, batch_size=2))
trainer.run()
assert trainer.threads == [1]
batches = list(task.batches("valid"))[:2]
measured = measure(model, task, n_prompts=2, max_tokens=4, progress=True)
print(evaluate_loss(model, batches, progress="valid"), measured["loss"])
"""


def run(*command, folder, browser=True):
    """Run Python in a browser's manner, or as it is; returns what it printed."""
    path = [str(ROOT), *([str(HERE)] if browser else [])]
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": os.pathsep.join(path), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", *map(str, command)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_of_the_three_can_be_done(tmp_path):
    run("-c", FORBIDDEN, folder=tmp_path)


def test_every_exercise_is_checked(tmp_path):
    names = run("-c", EXERCISES.format(given_up=GIVEN_UP), folder=tmp_path).split()
    assert len(names) == len(list((ROOT / "tutorials" / "exercises").glob("[0-9][0-9]_*.py")))


def test_an_answer_that_does_what_it_should_not_is_told(tmp_path):
    run("-c", ANSWERS.format(answers=HOSTILE), folder=tmp_path)


def test_the_verb_checks_too(tmp_path):
    run("-m", "minilora", "exercises", "start", "1", folder=tmp_path)
    path = tmp_path / "exercises" / "01_linear_backward.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    command = [sys.executable, "-m", "minilora", "exercises", "check", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert path.is_file() and done.returncode == 1, done.stderr
    assert "Still to be written" in done.stdout and GIVEN_UP in done.stdout


def test_training_and_measuring_give_the_same(tmp_path):
    """On one core the same numbers come out, whether threads could be started or not."""
    one_core = "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
    ours = run("-c", one_core + TRAINING, folder=tmp_path, browser=False) if hasattr(os, "sched_setaffinity") else None
    theirs = run("-c", TRAINING, folder=tmp_path)
    assert len(theirs.split()) == 2 and ours in (None, theirs)


@pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.slow), 2, 3])
def test_the_first_tutorials_run(number, tmp_path):
    (source,) = (ROOT / "tutorials").glob(f"{number:02d}_*.py")
    run(source, folder=tmp_path)
    assert not list(tmp_path.iterdir())
