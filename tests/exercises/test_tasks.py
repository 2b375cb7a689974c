"""Every exercise can be solved, every known mistake in it is caught and named, and no right answer is."""

import json

import numpy as np
import pytest

from exercises.answers import NAMES, by_name, findings_of, problems_of
from minilora.exercises.judge import judge
from minilora.exercises.runner.calls import AnswerError, Call, Result, decode, encode, named, perform
from minilora.exercises.sources import student_file
from minilora.exercises.task import run
from minilora.exercises.tasks import TASKS

MISTAKES = [(name, i) for name, task in TASKS.items() for i in range(len(task.mutants))]


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes(name, tmp_path):
    for seed in (0, 7):
        findings = findings_of(name, by_name(name).solution, tmp_path, seed)
        assert findings and all(finding.right for finding in findings), findings


@pytest.mark.parametrize("name", NAMES)
def test_the_blank_fails_and_names_its_task(name, tmp_path):
    exercise = by_name(name)
    problems = problems_of(name, student_file(exercise), tmp_path)
    if exercise.mends:
        assert all("Your code has changed" in str(problem) for problem in problems) and problems
        return
    written = {str(problem) for problem in problems if isinstance(problem, NotImplementedError)}
    assert all(text.startswith(f"exercise {exercise.number}, ") for text in written)
    assert {text.split(", ")[1] for text in written} <= set(TASKS[name].functions) and written


@pytest.mark.parametrize(("name", "i"), MISTAKES)
def test_a_known_mistake_fails_and_is_named(name, i):
    task = TASKS[name]
    what, changes = task.mutants[i]
    for seed in (0, 100 + by_name(name).number):  # the student's, and that of the marks
        findings = judge(task, run(task, task.functions | changes, seed), seed)
        wrong = [finding for finding in findings if not finding.right]
        assert f" equals {what}." in " ".join(finding.mistake for finding in wrong), findings


@pytest.mark.parametrize("name", NAMES)
def test_at_least_four_mistakes_are_known(name):
    assert len(TASKS[name].mutants) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_a_mistake_that_changes_it(name):
    task = TASKS[name]
    changed = set()
    for _, changes in task.mutants:
        findings = judge(task, run(task, task.functions | changes, 0), 0)
        changed |= {finding.name for finding in findings if not finding.right}
    assert changed == {finding.name for finding in judge(task, run(task, task.functions, 0), 0)}


def leaves(value):
    """The numbers and arrays in an argument, however deep."""
    if isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    else:
        yield value


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_given_depends_on_the_seed_and_is_in_float64(name):
    """Each array and each float is another one at another seed, and in another call: nothing can be hard-coded."""
    task = TASKS[name]
    first, again, other = (task.calls_for(seed) for seed in (0, 0, 1))
    assert json.dumps(encode(first)) == json.dumps(encode(again))
    fixed = {"t", "bound"}  # the step, and one bound that is loose enough to tell the two norms apart
    seen = {}
    for one, two in zip(first, other, strict=True):
        for key, value in one.arguments.items():
            for a, b in zip(leaves(value), leaves(two.arguments[key]), strict=True):
                if isinstance(a, np.ndarray) and a.dtype.kind == "f":
                    assert a.dtype == np.float64
                    assert not np.array_equal(a, b) or not a.any(), (one.where, key)
                elif isinstance(a, float) and key not in fixed:
                    assert a != b and a not in seen.get(key, ()), (one.where, key)
                    seen.setdefault(key, []).append(a)


def test_counts_are_asked_for_with_random_sizes():
    first, other = (TASKS["parameter_counting"].calls_for(seed) for seed in (0, 1))
    assert sum(a.arguments != b.arguments for a, b in zip(first, other, strict=True)) >= 8


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("linear_backward", "dy"),
        ("softmax_backward", "dprobs"),
        ("lora_linear_backward", "dy"),
        ("lora_linear_forward", "x"),
        ("layernorm", "x"),
        ("dora_backward", "dy"),
    ],
)
def test_any_number_of_axes_is_asked_for_where_the_text_says_so(name, array):
    assert {call.arguments[array].ndim for call in TASKS[name].calls_for(0) if array in call.arguments} >= {1, 2, 3, 4}


def test_the_sequences_of_the_loss_have_different_numbers_of_positions():
    counts = [c.arguments["cache"]["mask"] for c in TASKS["cross_entropy_backward"].calls_for(0)]
    assert any(len(set(mask.reshape(len(mask), -1).sum(axis=1))) > 1 for mask in counts if mask.ndim > 1)


def test_b_is_zero_in_one_call_and_its_products_count_in_the_others():
    for name in ("lora_linear_forward", "lora_linear_backward", "dora_backward"):
        for seed in range(20):
            for call in TASKS[name].calls_for(seed):
                given = call.arguments | call.arguments.get("cache", {})
                size = np.linalg.norm(given["scale"] * given["B"] @ given["A"])
                assert "B = 0" in call.where or size > 0.1 * np.linalg.norm(given["W"])


def test_calls_survive_their_way_as_json():
    for task in TASKS.values():
        for call in task.calls_for(3):
            text = json.dumps(encode(call))
            assert json.dumps(encode(decode(json.loads(text)))) == text


# ---- mistakes that are in no table


def report_of(wrong, name="linear_backward", tensor="dW"):
    task = TASKS[name]
    results = run(task, task.functions, 0)
    changed = [
        result._replace(values={t: wrong(a) if t == tensor else a for t, a in result.values.items()})
        for result in results
    ]
    return next(finding for finding in judge(task, changed, 0) if finding.name == tensor)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda dW: -dW, "Your dW equals -1 times the right one (the wrong sign)."),
        (lambda dW: 0.25 * dW, "Your dW equals 0.25 times the right one."),
        (lambda dW: 0.0 * dW, "Your dW is zero everywhere."),
        (lambda dW: dW * np.nan, "Your dW holds values that are infinite or NaN."),
        (lambda dW: dW + 1.0, ""),
        (lambda dW: dW.astype(np.float32), "Your dW is float32: right to 7 digits or so, where float64 has 16."),
        (lambda dW: dW * (1.0 + 1e-6), ""),  # not "equals 1 times"
        (lambda dW: dW.T.reshape(dW.shape), "Your dW has the right shape and holds the numbers of the transpose"),
        (lambda dW: dW.reshape(-1), "Your dW holds the right numbers in another shape: (20,), where (4, 5) belongs."),
        (lambda dW: dW[None], "Your dW holds the right numbers in another shape: (1, 4, 5), where (4, 5) belongs."),
        (lambda dW: np.zeros(7), ""),  # zero, but its shape is what is wrong
    ],
)
def test_any_tensor_can_go_wrong_in_these_ways(wrong, said):
    finding = report_of(wrong)
    assert not finding.right and finding.mistake.startswith(said) and bool(finding.mistake) == bool(said)


def test_a_scalar_times_changing_numbers_is_given_no_name():
    numbers = iter((2.0, 3.0, 0.5, 0.7))
    assert report_of(lambda scale: scale * next(numbers), "lora_start", "scale").mistake == ""
    numbers = iter((2.0, 3.0, 0.5, 0.7))
    said = report_of(lambda dW: dW * next(numbers)).mistake
    assert said.startswith("Your dW equals the right one times a number that is not always the same: 2, then 3")


def test_results_in_another_order_are_named():
    task = TASKS["linear_backward"]
    turned = [
        Result(dict(zip(("dx", "dW", "dbias"), (r["dW"], r["dx"], r["dbias"]))))
        for r, _ in run(task, task.functions, 0)
    ]
    said = [finding.mistake for finding in judge(task, turned, 0)]
    assert said[0] == "Your dx equals the right dW: the results are asked for as dx, dW, dbias." and said[2] == ""


def test_a_zero_start_is_named_by_what_is_wrong_alone():
    """B is right: nothing is said of A and B together."""
    assert "both" not in report_of(lambda A: 0.0 * A, "lora_start", "A").mistake
    assert report_of(lambda B: B.T, "lora_start", "B").mistake == "Your B equals the transpose of the right one."


def test_what_nearly_restores_w_is_told_why():
    said = report_of(lambda W: W + 1e-16 * np.abs(W).max(), "merging", "restored").mistake
    assert said.startswith("Your restored is right to 7 digits or more, but not to the bit")


def test_a_mistake_that_two_of_the_known_ones_make_is_not_named():
    task = TASKS["softmax_backward"]
    what, changes = task.mutants[0]
    twice = type(task)(task.functions, task.calls, [*task.mutants, ("something else", changes)])
    results = run(task, task.functions | changes, 0)
    assert what in judge(task, results, 0)[0].mistake and judge(twice, results, 0)[0].mistake == ""


def test_a_transpose_is_recognised():
    finding = report_of(lambda A: A.T, "peft_export", "A")
    assert finding.mistake.startswith("Your A equals the transpose of the right one")


def test_the_details_say_what_and_where():
    def off_in_one_entry(dW):
        dW = dW.copy()
        dW[1, 3] += 0.5
        return dW

    at, expected, yours, differs, error = report_of(off_in_one_entry).details
    assert at.split(maxsplit=1)[1] == "x of shape (2, 3, 5)"
    assert "shape (4, 5), float64, norm" in expected and "shape (4, 5), float64, norm" in yours
    assert "first in dW[1, 3]: yours" in differs and "at most 1e-09 is right" in error


def test_an_error_of_a_part_in_a_hundred_million_is_found():
    assert not report_of(lambda dW: dW * (1.0 + 1e-8)).right
    assert report_of(lambda dW: dW * (1.0 + 1e-12)).right


def test_a_missing_tensor_and_a_wrong_shape_are_said():
    task = TASKS["linear_backward"]
    results = [
        Result({"dW": result.values["dW"], "dbias": result.values["dbias"][None]})
        for result in run(task, task.functions, 0)
    ]
    dx, dW, dbias = judge(task, results, 0)
    assert dx.details == ("nothing to compare at x of shape (2, 3, 5)",) and dW.right
    assert "shape (1, 4)" in dbias.details[2]


def test_a_count_must_be_a_whole_number():
    finding = report_of(lambda n: np.asarray(float(n)), "parameter_counting", "lora_parameters")
    assert not finding.right and finding.details[-1] == "it must be a whole number, an int"


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
        ("return None, dW, dbias", "dx is None (is a `return` missing?)"),
        ("return dx + 1j, dW, dbias", "dx has the dtype complex128; it should hold real numbers"),
        ("W += 1.0; return dx, dW, dbias", "Your code has changed W, which it was given to read"),
    ],
)
def test_an_answer_that_cannot_be_compared_is_said(line, said, tmp_path):
    source = by_name("linear_backward").solution.replace("return dx, dW, dbias", line)
    (problem,) = {str(problem) for problem in problems_of("linear_backward", source, tmp_path)}
    assert said in problem


def test_a_numerical_gradient_that_does_not_put_x_back_is_told(tmp_path):
    source = by_name("numerical_gradient").solution
    source = source.replace("x = x.copy()", "pass").replace("x[i] = original\n", "pass\n")
    assert "has changed x" in str(problems_of("numerical_gradient", source, tmp_path)[0])


CHANGES = {
    "an array of the cache": "cache[0][...] = 0.0",
    "a gradient": "dy *= 2.0",
    "the dtype of an array": "dy.dtype = 'int64'",
    "the shape of an array": "cache[1].shape = (-1,)",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_is_changed_in_place_is_noticed(change):
    def meddling(dy, cache):
        kept = [array.copy() for array in cache]
        right = TASKS["linear_backward"].functions["linear_backward"](dy, kept)
        scope = {"dy": dy, "cache": cache}
        exec(change, scope)
        return right

    with np.errstate(all="ignore"):
        results = perform({"linear_backward": meddling}, TASKS["linear_backward"].calls_for(0))
    assert all("has changed" in str(result.problem) for result in results)


def test_a_list_that_is_emptied_is_noticed():
    def emptying(shapes):
        n = 0
        while shapes:
            n += sum(shapes.pop())
        return n

    (result,) = perform({"f": emptying}, [Call("", "f", {"shapes": [(1, 2), (3, 4)]}, ("n",))])
    assert str(result.problem) == "Your code has changed shapes, which it was given to read. Work on a copy."


def test_what_is_remembered_from_call_to_call_is_noticed():
    seen = []

    def remembers(x):
        seen.append(x)
        return x + len(seen)

    (result,) = perform({"f": remembers}, [Call("", "f", {"x": np.ones(2)}, ("y",))])
    assert "Your y changes when the same call is made again" in str(result.problem)


def test_one_buffer_for_all_results_is_noticed():
    buffer = np.empty(2)

    def into_the_buffer(x):
        return np.multiply(x, 2.0, out=buffer)

    calls = [Call("", "f", {"x": np.full(2, value)}, ("y",)) for value in (1.0, 2.0)]
    first, second = perform({"f": into_the_buffer}, calls)
    assert "was changed by a later call" in str(first.problem) and second.problem is None
