"""Every exercise can be solved, every known mistake in it is caught and named, and no right answer is."""

import numpy as np
import pytest

from exercises.answers import NAMES, answers_of, by_name, findings_of
from minilora.accounting import ARCHITECTURES, adaptation
from minilora.exercises.judge import judge
from minilora.exercises.sources import student_file
from minilora.exercises.task import AnswerError, named, run
from minilora.exercises.tasks import TASKS
from minilora.exercises.tasks.parameter_counting import CASES

MISTAKES = [(name, what) for name, task in TASKS.items() for what in task.mutants]


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes(name, tmp_path):
    for seed in (0, 7):
        findings = findings_of(name, by_name(name).solution, tmp_path, seed)
        assert findings and all(finding.right for finding in findings), findings


@pytest.mark.parametrize("name", NAMES)
def test_the_blank_fails_and_names_its_task(name, tmp_path):
    exercise = by_name(name)
    with pytest.raises(NotImplementedError, match=rf"^exercise {exercise.number}, \w+$") as problem:
        answers_of(name, student_file(exercise), tmp_path)
    assert str(problem.value).split(", ")[1] in TASKS[name].functions


@pytest.mark.parametrize(("name", "what"), MISTAKES, ids=lambda value: value[:40])
@pytest.mark.parametrize("seed", [0, 7])
def test_a_known_mistake_fails_and_is_named(name, what, seed):
    task = TASKS[name]
    findings = judge(task, run(task, task.functions | task.mutants[what], seed), seed)
    wrong = [finding for finding in findings if not finding.right]
    assert f" equals {what}." in " ".join(finding.mistake for finding in wrong), findings
    for finding in wrong:
        assert finding.details[0].startswith("at ") and finding.details[1].startswith("expected")


@pytest.mark.parametrize("name", NAMES)
def test_at_least_four_mistakes_are_known(name):
    assert len(TASKS[name].mutants) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_a_mistake_that_changes_it(name):
    task = TASKS[name]
    changed = set()
    for changes in task.mutants.values():
        findings = judge(task, run(task, task.functions | changes, 0), 0)
        changed |= {finding.name for finding in findings if not finding.right}
    assert changed == {finding.name for finding in judge(task, run(task, task.functions, 0), 0)}


@pytest.mark.parametrize("name", NAMES)
def test_points_are_in_float64_and_depend_on_the_seed(name):
    task = TASKS[name]
    first, again, other = (run(task, task.functions, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[w][t], again[w][t]) for w in first for t in first[w])
    if name == "parameter_counting":
        return  # its points are published models
    assert any(not np.array_equal(first[w][t], other[w][t]) for w in first for t in first[w])
    given = [a for point in task.points(np.random.default_rng(0)).values() for a in point.values()]
    floats = [a for a in given if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    assert all(a.dtype == np.float64 for a in floats)


def test_gradients_are_asked_for_with_more_than_one_leading_axis_and_without_square_matrices():
    for name in ("linear_backward", "lora_linear_backward", "dora_backward"):
        point = next(iter(TASKS[name].points(np.random.default_rng(0)).values()))
        assert point["x"].ndim == 3 and len({*point["W"].shape, *point["x"].shape[:-1]}) == 4
        assert point["B"].any() if "B" in point else True


def test_the_counts_are_those_of_the_published_models():
    architecture, targets, rank = CASES["GPT-2 medium, W_q and W_v, r = 4"]
    assert adaptation(ARCHITECTURES[architecture], "lora", rank=rank, targets=targets).trainable == 393_216


# ---- mistakes that are in no table


def report_of(wrong, name="linear_backward", tensor="dW"):
    task = TASKS[name]
    answers = run(task, task.functions, 0)
    for answer in answers.values():
        answer[tensor] = wrong(answer[tensor])
    return next(finding for finding in judge(task, answers, 0) if finding.name == tensor)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda dW: -dW, "Your dW equals -1 times the right one (the wrong sign)."),
        (lambda dW: 0.25 * dW, "Your dW equals 0.25 times the right one."),
        (lambda dW: 0.0 * dW, "Your dW is zero everywhere."),
        (lambda dW: dW * np.nan, "Your dW holds values that are infinite or no numbers (nan)."),
        (lambda dW: dW + 1.0, ""),
    ],
)
def test_any_tensor_can_go_wrong_in_these_ways(wrong, said):
    finding = report_of(wrong)
    assert not finding.right and finding.mistake == said


def test_a_transpose_is_recognised():
    finding = report_of(lambda A: A.T, "peft_export", "A")
    assert finding.mistake.startswith("Your A equals the transpose of the right one")


def test_the_details_say_what_and_where():
    def off_in_one_entry(dW):
        dW = dW.copy()
        dW[2, 3] += 0.5
        return dW

    at, expected, yours, differs, error = report_of(off_in_one_entry).details
    assert at.split(maxsplit=1)[1] == "x of shape (2, 3, 5)"
    assert "shape (4, 5), float64, norm" in expected and "shape (4, 5), float64, norm" in yours
    assert "first in dW[2, 3]: yours" in differs and "at most 1e-09 is right" in error


def test_an_error_of_a_part_in_a_hundred_million_is_found():
    assert not report_of(lambda dW: dW * (1.0 + 1e-8)).right
    assert report_of(lambda dW: dW * (1.0 + 1e-12)).right


def test_a_missing_tensor_and_a_wrong_shape_are_said():
    task = TASKS["linear_backward"]
    answers = run(task, task.functions, 0)
    for answer in answers.values():
        del answer["dx"]
        answer["dbias"] = answer["dbias"][None]
    dx, dW, dbias = judge(task, answers, 0)
    assert dx.details == ("your code did not return it",) and dW.right
    assert "shape (1, 4)" in dbias.details[2]


# ---- answers that cannot be compared


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, r"f returned None \(is a `return` missing\?\); it should return 2 values: a, b"),
        (np.zeros(2), "f returned a ndarray; it should return 2 values"),
        ((1, 2, 3), "f returned 3 values; it should return 2 values"),
    ],
)
def test_a_wrong_number_of_values_is_said(value, said):
    with pytest.raises(AnswerError, match=said):
        named("f", value, "a", "b")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("return [1, 2], dW, dbias", "dx is a list; it should be a NumPy array or a number"),
        ("return None, dW, dbias", r"dx is None \(is a `return` missing\?\)"),
        ("return dx + 1j, dW, dbias", "dx has the dtype complex128; it should hold real numbers"),
        ("W += 1.0; return dx, dW, dbias", "Your code has changed W, which it was given to read"),
    ],
)
def test_an_answer_that_cannot_be_compared_is_said(line, said, tmp_path):
    source = by_name("linear_backward").solution.replace("return dx, dW, dbias", line)
    with pytest.raises(AnswerError, match=said):
        answers_of("linear_backward", source, tmp_path)


def test_a_numerical_gradient_that_does_not_put_x_back_is_told(tmp_path):
    source = by_name("numerical_gradient").solution
    source = source.replace("x = x.copy()", "pass").replace("x[i] = original\n", "pass\n")
    with pytest.raises(AnswerError, match="has changed x"):
        answers_of("numerical_gradient", source, tmp_path)
