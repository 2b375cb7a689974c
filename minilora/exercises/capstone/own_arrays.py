"""An answer on the arrays of the run: the calls that a step makes of it, on the first sentence of the step's batch."""

import inspect
from dataclasses import replace

import numpy

from minilora.exercises.capstone.comparing import RIGHT, Parting
from minilora.exercises.judge import Finding, judge
from minilora.exercises.runner.calls import Call, Kept, Seed
from minilora.exercises.runner.capstone import Setting, adapted, step
from minilora.exercises.runner.decoder import Batch
from minilora.exercises.runner.handed_in import RETURNS
from minilora.exercises.sandbox import Earlier, run_answer
from minilora.exercises.tasks import TASKS


def findings_at(parting: Parting, name: str, source: str, setting: Setting, earlier: Earlier) -> list[Finding]:
    """What the checker says of an answer, called as the step that it parted in calls it; empty if it does not run.

    Parameters
    ----------
    parting : Parting
    name : str
        The exercise.
    source : str
        Its answer.
    setting : Setting
    earlier : Earlier
        What the answer may import.
    """
    calls = calls_of(parting, name, setting)
    task = replace(TASKS[name], calls=lambda rng: calls, slopes=None)
    outcome = run_answer(source, calls, computing=60, waiting=300.0, earlier=earlier)
    return [] if outcome.error else judge(task, outcome.results, 0)


def calls_of(parting: Parting, name: str, setting: Setting) -> list[Call]:
    """The first and the last call that the step makes of each of an exercise's functions, with the right arguments."""
    if parting.state is None:
        return _starts(setting)
    made: dict[str, list[dict]] = {function: [] for function in TASKS[name].functions}
    f = {function: _kept(function, right, made) for function, right in RIGHT.items()}
    one = Batch(*(array[:1] for array in setting.batches[parting.step - 1]))
    batches = [one] * parting.step  # so that the step has its number
    with numpy.errstate(all="ignore"):
        step(setting._replace(batches=batches), parting.state, parting.step - 1, f)
    where = f"step {parting.step}, first sentence"
    if name == "layernorm":
        forward, backward = made["layernorm_forward"], made["layernorm_backward"]
        calls = [Call(where, "layernorm_forward", a, ("y", "cache"), ("cache",)) for a in (forward[0], forward[-1])]
        last_first = zip(
            (1, 0), (backward[0], backward[-1]), strict=True
        )  # a backward is its forward, read from the end
        return calls + [
            Call(where, "layernorm_backward", {"dy": a["dy"], "cache": Kept(i, "cache")}, ("dx", "dgain", "dbias"))
            for i, a in last_first
        ]
    ((function, of_function),) = made.items()
    some = of_function[:1] + of_function[-1:] if len(of_function) > 1 else of_function
    return [Call(where, function, arguments, RETURNS[function][0]) for arguments in some]


def _kept(function, right, made):
    """The right function, which keeps the arguments of its calls."""
    names = list(inspect.signature(right).parameters)

    def call(*arguments):
        if function in made:
            given = {
                n: {str(i): p for i, p in enumerate(a)} if isinstance(a, tuple) else a
                for n, a in zip(names, arguments, strict=True)
            }
            made[function].append(given)
        return right(*arguments)

    return call


def _starts(setting):
    """lora_start for each size of a linear map, each with a generator of its own."""
    numbers, calls = setting.numbers, []
    sizes = dict.fromkeys(setting.weights[name + ".W"].shape for name in adapted(setting.weights, numbers))
    for O, I in sizes:
        given = {"O": O, "I": I, "rank": numbers["rank"], "alpha": numbers["alpha"], "rng": Seed(numbers["seed"])}
        calls.append(Call(f"O = {O}, I = {I}, at the start", "lora_start", given, ("A", "B", "scale")))
    return calls
