"""The capstone: eight right answers train LoRA as minilora does; a wrong one is named; a hostile one is contained."""

import re

import numpy
import pytest

from exercises.answers import by_name
from minilora.cli import main
from minilora.exercises import progress
from minilora.exercises.capstone import comparing, reference
from minilora.exercises.capstone.check import _blame, check_capstone
from minilora.exercises.capstone.own_arrays import findings_at
from minilora.exercises.capstone.running import run_answers
from minilora.exercises.capstone.setting import capstone
from minilora.exercises.earlier import earlier_for
from minilora.exercises.runner.capstone import train
from minilora.exercises.runner.handed_in import RETURNS, guarded
from minilora.exercises.sources import CAPSTONE
from minilora.exercises.tasks import TASKS

RIGHT = {name: by_name(name).solution for name in CAPSTONE}
OF = {function: name for name in CAPSTONE for function in TASKS[name].functions}
WRONG = {  # right on the small cases of its exercise, and wrong in the run: what is scaled in each function, and when
    "linear_backward": "dy.size > 2000",
    "lora_linear_forward": "x.size > 2000",
    "cross_entropy_backward": "cache[0].size > 2000",
    "lora_start": "I > 100",
    "lora_linear_backward": "dy.size > 2000",
    "adamw_step": "data.size > 1000 and t == 2",
    "layernorm_forward": "x.size > 2000",
    "layernorm_backward": "dy.size > 2000",
    "attention_backward": "dy.size > 2000",
}

SOONEST = ("lora_linear_backward", "adamw_step", "layernorm_backward")  # tested each time


def wrong(function, when):
    """The solution, whose first result is off by a thousandth under a condition."""
    name = OF[function]
    arguments = re.search(rf"def {function}\((.*)\):", RIGHT[name])[1]
    return RIGHT[name] + (
        f"\n\n_right = {function}\n\n\ndef {function}({arguments}):\n"
        f"    made = _right({arguments})\n"
        f"    if not ({when}):\n        return made\n"
        "    return 1.001 * made if not isinstance(made, tuple) else (1.001 * made[0], *made[1:])\n"
    )


@pytest.fixture(scope="module")
def short():
    made = capstone(2)
    return made._replace(prompts=made.prompts[:2], sources=made.sources[:2])


@pytest.fixture(scope="module")
def right_run(short):
    return reference.minilora_run(short.setting)


def blamed(answers, made, right):
    """What is said of a run that is not minilora's."""
    run = run_answers(answers, made.setting)
    assert run.trained is not None, run.error
    last = comparing.first_wrong_loss(run.trained, right)
    assert last is not None or comparing.error_of_arrays(run.trained, right) > comparing.BOUND
    said = []
    _blame(run.trained, last, made.setting, answers, said.append)
    return "\n".join(said)


def test_the_run_with_the_right_functions_is_minilora_s():
    """Three steps: then A's gradient has been zero, small, and used."""
    setting, trace = capstone(3).setting, []
    trained = train(setting, {name: guarded(name, f, trace) for name, f in comparing.RIGHT.items()}, trace)
    right = reference.minilora_run(setting)
    assert numpy.allclose(trained.losses, right.losses, rtol=1e-10)
    assert comparing.error_of_arrays(trained, right) < 1e-8
    assert right.losses[2] < right.losses[0]
    assert list(trained.arrays) == list(right.arrays)


def test_eight_right_answers_pass_and_their_adapter_writes(short):
    said, done = [], []
    assert check_capstone(RIGHT, say=said.append, after=done.append, made=short)
    text = "\n".join(said)
    assert text.count(": right") == 8 and "Your A and B are minilora's" in text and done[-1] == 2
    assert "  name: " in text and "The base, without it, goes on" in text


def test_an_answer_that_fails_its_own_exercise_is_said_before_the_run(short):
    said = []
    answers = {
        **RIGHT,
        "lora_linear_backward": RIGHT["lora_linear_backward"].replace("return dx, dA, dB", "return dx, dB, dA"),
    }
    del answers["layernorm"]
    assert not check_capstone(answers, say=said.append, made=short)
    text = "\n".join(said)
    assert " 9  lora_linear_backward: wrong" in text and "14  layernorm: no answer yet" in text
    assert text.count(": right") >= 6 and "Your dA equals the right dB" in text
    assert "Not trained yet: the run needs exercise 9, lora_linear_backward, exercise 14, layernorm." in text


@pytest.mark.parametrize(
    ("function", "when"),
    [
        pytest.param(function, when, id=function, marks=[] if function in SOONEST else [pytest.mark.slow])
        for function, when in WRONG.items()
    ],
)
def test_a_wrong_answer_is_named_by_the_arrays_of_the_run(function, when, short, right_run):
    text = blamed({**RIGHT, OF[function]: wrong(function, when)}, short, right_run)
    number = by_name(OF[function]).number
    tensor = RETURNS[function][0][0]
    assert f"The answer that is wrong: exercise {number}, {OF[function]}." in text
    assert f"Its {tensor} is wrong for the first time" in text and f"  {tensor}: wrong" in text
    assert "times the right one" in text or "differs    first in" in text


def test_an_answer_that_keeps_something_from_call_to_call_is_named(short, right_run):
    counting = wrong("layernorm_backward", "calls.append(0) or len(calls) == 5").replace(
        "_right =", "calls = []\n_right ="
    )
    text = blamed({**RIGHT, "layernorm": counting}, short, right_run)
    assert "The answer that is wrong: exercise 14, layernorm." in text
    assert "what it keeps from one call to the next" in text


def test_every_right_function_is_right_on_the_arrays_of_a_step(short):
    """What names a mistake there finds none in the solutions."""
    state = comparing.State({}, {}, {}, 0.0)
    f = {name: guarded(name, right, []) for name, right in comparing.RIGHT.items()}
    from minilora.exercises.runner.capstone import start, step

    state, _ = step(short.setting, start(short.setting, f), 0, f)
    for name in CAPSTONE:
        at = comparing.Parting("", "", 0 if name == "lora_start" else 2, None if name == "lora_start" else state)
        findings = findings_at(at, name, RIGHT[name], short.setting, earlier_for(name, {}))
        assert findings and all(finding.right for finding in findings), (name, findings)


HOSTILE = {
    "import minilora": "tried to import minilora",
    "import minilora.exercises.tasks.layernorm": "tried to import minilora",
    "import numpy\nopen(numpy.__file__, 'a')": "an answer computes and leaves files alone",
    "exit()": "called exit()",
    "import os\nos._exit(0)": "ended the Python process before it had returned",
    "import subprocess\nsubprocess.run(['true'])": "tried to start or to end a process",
    "1 / 0": "ZeroDivisionError",
}


@pytest.mark.parametrize(("code", "said"), HOSTILE.items(), ids=lambda value: value[:30])
def test_a_hostile_answer_is_contained(code, said, short):
    run = run_answers({**RIGHT, "adamw_step": f"{code}\n{RIGHT['adamw_step']}"}, short.setting)
    assert run.trained is None and said in run.error


def test_what_an_answer_does_wrong_at_once_is_said_with_its_name(short):
    changing = RIGHT["adamw_step"] + (
        "\n\n_right = adamw_step\n\n\ndef adamw_step(data, *rest):\n    data *= 0.5\n    return _right(data, *rest)\n"
    )
    run = run_answers({**RIGHT, "adamw_step": changing}, short.setting)
    assert run.trained is None and run.function == "adamw_step" and "read-only" in run.error
    assert "of 10_adamw_step.py, `data *= 0.5`" in run.error

    shape = RIGHT["lora_linear_backward"].replace("return dx, dA, dB", "return dx, dA.T, dB")
    run = run_answers({**RIGHT, "lora_linear_backward": shape}, short.setting)
    assert run.function == "lora_linear_backward" and "dA is of float64 and of shape" in run.error


def test_a_forged_result_is_not_minilora_s(short):
    """The judge is another process: whatever an answer leaves there is only compared."""
    forging = (
        "import json, os, numpy\n"
        "numpy.zeros(200_000).tofile('trained.bin')\n"
        "json.dump({'error': '', 'function': ''}, open('results.json', 'w'))\n"
        "os._exit(0)\n"
    )
    run = run_answers({**RIGHT, "adamw_step": forging}, short.setting)
    right = reference.minilora_run(short.setting)
    assert run.trained is not None and comparing.first_wrong_loss(run.trained, right) == 0


@pytest.mark.slow
def test_the_capstone_as_a_student_runs_it(tmp_path, capsys):
    for name, source in RIGHT.items():
        (tmp_path / by_name(name).file_name).write_text(source)
    assert main(["exercises", "check", "capstone", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    exact, total = map(int, re.search(r"(\d+) of (\d+) sentences say", printed).groups())
    assert exact > 0.6 * total
    assert progress.load(tmp_path)["capstone"]["passed"]
    main(["exercises", "list", "--folder", str(tmp_path)])
    assert "train LoRA (passed):" in capsys.readouterr().out
