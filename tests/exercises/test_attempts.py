"""Answers as students write them: each wrong one fails, at the student's seed and at that of the marks alike, each
right one passes, and whatever is said of a mistake is true."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from exercises.answers import NAMES, by_name
from minilora.exercises.judge import judge
from minilora.exercises.task import run
from minilora.exercises.tasks import TASKS

FOLDER = Path(__file__).parent / "attempts"


def seeds_of(name):
    """The student's, and that of the marks."""
    (marks,) = [cell.text for cell in by_name(name).cells if cell.has("grade")]
    return 0, int(re.search(r"seed=(\d+)", marks)[1])


def attempts(name):
    return runpy.run_path(str(FOLDER / f"{name}.py"))["a"]


def findings_of(name, attempt, seed):
    task = TASKS[name]
    return judge(task, run(task, task.functions | attempt.functions, seed), seed)


def test_there_are_enough():
    wrong, right = (sum(len(getattr(attempts(name), kind)) for name in NAMES) for kind in ("wrong", "right"))
    assert wrong >= 300 and right >= 50, (wrong, right)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_wrong_answers_fail_and_what_is_said_of_them_is_true(name):
    passed, false = [], []
    for seed in seeds_of(name):
        for attempt in attempts(name).wrong:  # anew for each seed: some remember
            findings = findings_of(name, attempt, seed)
            if all(finding.right for finding in findings):
                passed.append((attempt.why, seed))
            said = [finding.mistake for finding in findings if finding.mistake]
            false += [(attempt.why, s) for s in said if not any(piece and piece in s for piece in attempt.true)]
    assert not passed and not false


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_right_answers_pass(name):
    for seed in (*seeds_of(name), 7):
        for attempt in attempts(name).right:
            findings = findings_of(name, attempt, seed)
            assert all(finding.right for finding in findings), (attempt.why, findings)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_the_two_seeds_agree_on_every_tensor(name):
    student, marks = (
        [[(f.name, f.right) for f in findings_of(name, attempt, seed)] for attempt in attempts(name).wrong]
        for seed in seeds_of(name)
    )
    assert np.array_equal(student, marks)
