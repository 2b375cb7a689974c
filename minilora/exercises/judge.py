"""Which of a student's tensors are right, what is wrong with the others, and which known mistake they equal."""

from typing import NamedTuple

import numpy

from minilora.exercises.recognise import Tensor, error_of, same_bits, sentence_for
from minilora.exercises.runner.calls import Call, Result
from minilora.exercises.task import Task, run


class Finding(NamedTuple):
    """The findings about one tensor."""

    name: str
    right: bool
    details: tuple[str, ...] = ()
    mistake: str = ""  # the known mistake, as a sentence; or empty


def judge(task: Task, results: list[Result], seed: int) -> list[Finding]:
    """Compare results with the right ones, and compare those that are wrong with those of every mutant.

    Parameters
    ----------
    task : Task
    results : list of Result
        What the answer returned for the task's calls.
    seed : int
        The seed with which the calls were drawn.

    Returns
    -------
    findings : list of Finding
        One for each tensor.
    """
    calls, expected = task.calls_for(seed), run(task, task.functions, seed)
    got = tensors(results)
    wanted = tensors(expected)
    findings = [_examine(task, name, got.get(name, {}), wants, calls) for name, wants in wanted.items()]
    if all(finding.right for finding in findings):
        return findings
    made = [(what, tensors(run(task, task.functions | changes, seed))) for what, changes in task.mutants]
    return [
        finding
        if finding.right
        else finding._replace(
            mistake=sentence_for(finding.name, got.get(finding.name, {}), wanted, made, finding.name in task.exact)
        )
        for finding in findings
    ]


def tensors(results: list[Result]) -> dict[str, Tensor]:
    """Results by tensor: for each name, a dict of the call's number to the array."""
    found: dict[str, Tensor] = {}
    for i, result in enumerate(results):
        for name, array in result.values.items():
            found.setdefault(name, {})[i] = array
    return found


def _examine(task: Task, name: str, got: Tensor, wants: Tensor, calls: list[Call]) -> Finding:
    exact = name in task.exact
    for i, want in wants.items():
        if i not in got:
            return Finding(name, False, (f"nothing to compare at {calls[i].where}",))
        have = got[i]
        same = same_bits(have, want) if exact else have.shape == want.shape and error_of(have, want) <= task.bound
        if name in task.whole and have.dtype.kind not in "iu":
            same = False
        if same:
            continue
        details = [f"at         {calls[i].where}", f"expected   {_describe(want)}", f"yours      {_describe(have)}"]
        if name in task.whole and have.dtype.kind not in "iu":
            details.append("it must be a whole number, an int")
        if have.shape == want.shape and want.ndim:
            details += [_first_difference(name, have, want, 0.0 if exact else task.bound)]
            details += ["equal to the bit is right" if exact else _size_of_the_error(have, want, task.bound)]
        return Finding(name, False, tuple(details))
    return Finding(name, True)


def _describe(array):
    if not array.ndim:
        return f"{array[()]:.9g}" if array.dtype.kind == "f" else f"{array[()]}"
    return f"shape {array.shape}, {array.dtype}, norm {numpy.linalg.norm(array.astype(numpy.float64)):.6g}"


def _first_difference(name, got, want, bound):
    got, want = got.astype(numpy.float64), want.astype(numpy.float64)
    differs = ~(numpy.abs(got - want) <= bound * numpy.abs(want).max(initial=0.0))  # nan differs
    i = tuple(int(k) for k in numpy.argwhere(differs)[0]) if differs.any() else numpy.unravel_index(0, got.shape)
    return f"differs    first in {name}[{', '.join(map(str, i))}]: yours {got[i]:.9g}, expected {want[i]:.9g}"


def _size_of_the_error(got, want, bound):
    return f"error      {error_of(got, want):.2g}, relative to the norm; at most {bound:g} is right"
