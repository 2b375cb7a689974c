"""Earlier answers in later ones: they are imported from `earlier`, and exercise 4's check looks at every backward."""

import re
from pathlib import Path

import numpy
import pytest

from exercises.answers import by_name, solution_lines
from minilora.cli import main
from minilora.exercises import progress
from minilora.exercises.checking import check_answer, marks
from minilora.exercises.runner.calls import perform
from minilora.exercises.runner.decoder import __file__ as runner_file
from minilora.exercises.sources import exercises
from minilora.exercises.tasks import TASKS

LOOKED_AT = [name for name, task in TASKS.items() if task.slopes]
SOLUTIONS = {exercise.name: exercise.solution for exercise in exercises()}
WITH_5 = """
import numpy as np
from earlier import softmax_backward


def attention_backward(dy, cache):
    q, k, v, probs = cache
    dscores = softmax_backward(dy @ v.swapaxes(-1, -2), (probs,)) / np.sqrt(q.shape[-1])
    return dscores @ k, dscores.swapaxes(-1, -2) @ q, probs.swapaxes(-1, -2) @ dy
"""


def checked(name, functions):
    """For each gradient, its value and what the gradient check of exercise 4 says, with these functions."""
    others = {**TASKS["numerical_gradient"].functions, **TASKS["lora_linear_forward"].functions}
    calls = TASKS[name].slope_calls(3, 0)
    values = {}
    with numpy.errstate(all="ignore"):
        for call, result in zip(calls, perform({**others, **functions}, calls), strict=True):
            if call.function not in TASKS["numerical_gradient"].functions:
                values |= result.values
            elif call.function == "agree":
                verdict = bool(*result.values.values()) if result.values else None
                values[call.where] = (values.get(call.where), verdict)
    return {gradient: pair for gradient, pair in values.items() if isinstance(pair, tuple)}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_the_gradient_check_agrees_with_right_gradients_and_with_no_wrong_one(name):
    task = TASKS[name]
    right = checked(name, task.functions)
    assert right and all(verdict is True for _, verdict in right.values())
    seen = 0
    for what, changes in task.mutants:
        if any(function.endswith("_forward") for function in changes):
            continue  # the slope is that of the student's own forward
        for gradient, (value, verdict) in checked(name, task.functions | changes).items():
            if value is None or value.shape != right[gradient][0].shape:
                assert verdict is not True, (what, gradient)
                continue
            size = numpy.linalg.norm(right[gradient][0])
            same = bool(numpy.linalg.norm(value - right[gradient][0]) <= 1e-6 * size)
            assert verdict is same, (what, gradient)
            seen += not same
    assert seen


def test_backward_passes_after_exercise_4_are_looked_at():
    backward = {name for name in TASKS if any("backward" in function for function in TASKS[name].functions)}
    assert set(LOOKED_AT) == backward


def test_the_students_own_gradient_check_speaks_in_the_report(tmp_path, capsys):
    for name in ("lora_linear_forward", "numerical_gradient"):
        (tmp_path / by_name(name).file_name).write_text(SOLUTIONS[name])
        progress.record(tmp_path, name, passed=True)
    path = tmp_path / by_name("lora_linear_backward").file_name
    path.write_text(SOLUTIONS["lora_linear_backward"])
    assert main(["exercises", "check", "9", "--folder", str(tmp_path)]) == 0
    assert "gradient check (exercise 4) says:\n  dx agrees, dA agrees, dB agrees\n" in capsys.readouterr().out

    path.write_text(SOLUTIONS["lora_linear_backward"].replace("return dx, dA, dB", "return dx, dA, 2.0 * dB"))
    assert main(["exercises", "check", "9", "--folder", str(tmp_path)]) == 1
    assert "dx agrees, dA agrees, dB does not\n" in capsys.readouterr().out

    (tmp_path / by_name("numerical_gradient").file_name).write_text("def agree(:")  # it was right once
    path.write_text(SOLUTIONS["lora_linear_backward"])
    assert main(["exercises", "check", "9", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "dx not looked at" in printed and "Line 1 of 04_numerical_gradient.py is not Python" in printed


def test_a_later_answer_uses_an_earlier_one():
    verdict = check_answer("attention_backward", WITH_5, answers={"softmax_backward": SOLUTIONS["softmax_backward"]})
    assert verdict.passed

    wrong = SOLUTIONS["softmax_backward"].replace("return", "return 2.0 *")
    verdict = check_answer("attention_backward", WITH_5, answers={"softmax_backward": wrong})
    assert not verdict.passed and "dv: right" in verdict.report and "dq: wrong" in verdict.report


@pytest.mark.parametrize(("answers", "there"), [({}, "there are none"), ({"merging"}, "there are merge, unmerge")])
def test_what_was_not_passed_is_not_there(answers, there):
    verdict = check_answer("attention_backward", WITH_5, answers={name: SOLUTIONS[name] for name in answers})
    assert not verdict.passed and verdict.right == 0
    assert f"`softmax_backward` is not among your earlier answers: {there}." in verdict.report


def test_a_later_exercise_cannot_be_used_for_an_earlier_one():
    source = "from earlier import attention_backward\ndef softmax_backward(dprobs, cache): return dprobs"
    verdict = check_answer("softmax_backward", source, answers={"attention_backward": SOLUTIONS["attention_backward"]})
    assert not verdict.passed and "is not among your earlier answers" in verdict.report


def test_in_a_course_each_answer_stands_alone(capsys):
    assert marks("attention_backward", WITH_5, points=8, seed=1) == 0.0
    assert "in a course, none" in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_the_process_of_an_answer_holds_no_line_of_a_solution():
    """`runner` is loaded where an answer runs; what it computes there is asked for nowhere."""
    code = "\n".join(path.read_text() for path in Path(runner_file).parent.glob("*.py"))
    lines = {line.strip() for line in code.splitlines()}
    for exercise in exercises():
        assert not {line for line in solution_lines(exercise) if len(line) > 20} & lines, exercise.name
