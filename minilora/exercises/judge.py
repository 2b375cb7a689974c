"""Which of a student's tensors are right, what is wrong with the others, and which known mistake they equal."""

from typing import NamedTuple

import numpy

from minilora.exercises.task import run

SAME = 1e-6  # relative: two answers that make the same mistake differ by rounding alone


class Finding(NamedTuple):
    """What there is to say about one tensor."""

    name: str
    right: bool
    details: tuple[str, ...] = ()
    mistake: str = ""  # the known mistake, as a sentence; empty if there is none


def judge(task, answers, seed):
    """Compare answers with the right ones, and the wrong ones of them with those of every mutant.

    Parameters
    ----------
    task : Task
    answers : dict of str to (dict of str to ndarray)
        As `run` returns them, perhaps with something missing.
    seed : int
        With which they were made.

    Returns
    -------
    findings : list of Finding
        One for each tensor.
    """
    expected = run(task, task.functions, seed)
    names = dict.fromkeys(name for right in expected.values() for name in right)
    findings = [_examine(name, answers, expected, task.bound) for name in names]
    if all(finding.right for finding in findings):
        return findings
    mutants = {what: run(task, task.functions | changes, seed) for what, changes in task.mutants.items()}
    return [
        finding if finding.right else finding._replace(mistake=_recognise(finding.name, answers, expected, mutants))
        for finding in findings
    ]


def _examine(name, answers, expected, bound):
    for where, right in expected.items():
        if name not in right:
            continue
        got, want = answers.get(where, {}).get(name), right[name]
        if got is None:
            return Finding(name, False, ("your code did not return it",))
        if got.shape == want.shape and _error(got, want) <= bound:
            continue
        details = [f"at         {where}", f"expected   {_describe(want)}", f"yours      {_describe(got)}"]
        if got.shape == want.shape and want.ndim:
            details += [_first_difference(name, got, want, bound), _size_of_the_error(got, want, bound)]
        return Finding(name, False, tuple(details))
    return Finding(name, True)


def _error(got, want):
    """||got - want|| / ||want||; where want is zero, ||got||; nan where got is not finite."""
    got, want = got.astype(numpy.float64), want.astype(numpy.float64)
    if not numpy.isfinite(got).all():
        return numpy.nan
    return float(numpy.linalg.norm(got - want) / (numpy.linalg.norm(want) or 1.0))


def _describe(array):
    if not array.ndim:
        return f"{array[()]:.9g}" if array.dtype.kind == "f" else f"{array[()]}"
    return f"shape {array.shape}, {array.dtype}, norm {numpy.linalg.norm(array.astype(numpy.float64)):.6g}"


def _first_difference(name, got, want, bound):
    differs = ~(numpy.abs(got - want) <= bound * numpy.abs(want).max(initial=0.0))  # nan differs
    i = tuple(int(k) for k in numpy.argwhere(differs)[0])
    return f"differs    first in {name}[{', '.join(map(str, i))}]: yours {got[i]:.9g}, expected {want[i]:.9g}"


def _size_of_the_error(got, want, bound):
    return f"error      {_error(got, want):.2g}, relative to the norm; at most {bound:g} is right"


def _recognise(name, answers, expected, mutants):
    """The mistake that a tensor equals at every point, as a sentence."""
    pairs = [(answers.get(where, {}).get(name), right[name]) for where, right in expected.items() if name in right]
    if any(got is None for got, _ in pairs):
        return ""
    for what, wrong in mutants.items():
        wrongs = [answer[name] for answer in wrong.values() if name in answer]
        if _all_same(wrongs, [got for got, _ in pairs]) and not _all_same(wrongs, [want for _, want in pairs]):
            return f"Your {name} equals {what}."
    return _recognise_simple(name, pairs)


def _recognise_simple(name, pairs):
    """What can go wrong with any tensor."""
    if all(not numpy.isfinite(got).all() for got, _ in pairs):
        return f"Your {name} holds values that are infinite or no numbers (nan)."
    if all(not got.any() for got, _ in pairs):
        return f"Your {name} is zero everywhere."
    if all(want.ndim > 1 and _same(got, numpy.swapaxes(want, -1, -2)) for got, want in pairs):
        return f"Your {name} equals the transpose of the right one."
    if all(got.shape == want.shape and want.any() for got, want in pairs):
        factors = [float(numpy.vdot(got, want) / numpy.vdot(want, want)) for got, want in pairs]
        if all(_same(got, factor * want) for factor, (got, want) in zip(factors, pairs, strict=True)):
            if max(factors) - min(factors) <= SAME * abs(factors[0]):
                sign = " (the wrong sign)" if abs(factors[0] + 1.0) < SAME else ""
                return f"Your {name} equals {factors[0]:.6g} times the right one{sign}."
            several = ", then ".join(f"{factor:.6g}" for factor in factors)
            return f"Your {name} equals the right one times a number that is not always the same: {several}."
    return ""


def _all_same(some, others):
    return all(_same(a, b) for a, b in zip(some, others, strict=True))


def _same(a, b):
    return a.shape == b.shape and _error(a, b) <= SAME
