"""Each exhibit's wrong version fails its check, is what its lines say, and is named by the exercises' checker."""

import inspect
import re
import textwrap

import numpy as np
import pytest

from minilora.arrays.backend import get_xp
from minilora.exercises.checking import check_answer
from minilora.exercises.sources import find
from minilora.exercises.tasks import TASKS
from minilora.museum import EXHIBITS, ROOMS, exchanged
from minilora.museum.scenes import SCENES
from minilora.ops import fast, rope_frequencies, rope_table
from minilora.ops.dora_linear import row_norm

CASES = [pytest.param(exhibit, id=name) for name, exhibit in EXHIBITS.items()]
WITH_SLIP = [pytest.param(exhibit, id=name) for name, exhibit in EXHIBITS.items() if exhibit.slip]


@pytest.mark.parametrize("exhibit", CASES)
def test_its_check_passes_the_right_code_and_fails_the_wrong(exhibit):
    exhibit.check.run()
    with pytest.raises(AssertionError), exchanged(exhibit.instead):
        exhibit.check.run()
    exhibit.check.run()  # all is as it was


def source_of(function):
    function = inspect.unwrap(getattr(function, "page", function))
    return textwrap.dedent(inspect.getsource(function))


def lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("exhibit", CASES)
def test_its_right_lines_stand_in_the_package(exhibit):
    source = source_of(exhibit.place)
    assert exhibit.right != exhibit.wrong
    for line in lines(exhibit.right):
        assert line in source, line


def test_there_are_enough_and_each_has_a_link_of_its_own():
    links = [exhibit.link for exhibit in EXHIBITS.values()]
    assert len(links) >= 30 and len(set(links)) == len(links) == sum(map(len, ROOMS.values()))
    for link in links:
        assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+", link), link


@pytest.mark.parametrize("exhibit", CASES)
def test_it_is_described(exhibit):
    assert exhibit.scene in SCENES and EXHIBITS[exhibit.name] is exhibit
    assert re.fullmatch(r"[a-z0-9-]+", exhibit.name)
    assert exhibit.says.endswith(".") and exhibit.says.count(". ") == 0, "one sentence"
    assert not exhibit.title.endswith(".")


# ---- the lines are the wrong version: put into the right function, they compute what it computes


def of_lines(exhibit):
    """The right function with its right lines replaced by the wrong ones, compiled."""
    function = inspect.unwrap(getattr(exhibit.place, "page", exhibit.place))
    source = source_of(function)
    right, wrong = lines(exhibit.right), exhibit.wrong.splitlines()
    if "\n" not in exhibit.right and exhibit.right in source and not _whole_line(exhibit.right, source):
        source = source.replace(exhibit.right, exhibit.wrong)  # a part of a line
    else:
        for n, line in enumerate(right):
            (whole,) = [each for each in source.splitlines() if each.split("  #")[0].strip() == line]
            indent = whole[: len(whole) - len(whole.lstrip())]
            put = "\n".join(indent + each for each in wrong) if n == len(right) - 1 else ""
            source = source.replace(whole, put)
    names = dict(function.__globals__)
    names |= {"row_norm": row_norm, "get_xp": get_xp}
    if "unscaled" in exhibit.wrong:  # the old angles, which the backward would have computed itself
        cos, sin = rope_table(np.arange(5), rope_frequencies(4, 10000.0), np.dtype("float64"))
        names |= {"unscaled_cos": cos, "unscaled_sin": sin}
    made = {}
    exec(compile(source, exhibit.name, "exec"), names, made)
    return made[function.__name__]


def _whole_line(line, source):
    return any(each.split("  #")[0].strip() == line for each in source.splitlines())


def said_with(exhibit, pairs):
    with pytest.raises(AssertionError) as failed, exchanged(pairs):
        exhibit.check.run()
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda number: f"{float(number[0]):.6g}", str(failed.value))


@pytest.mark.parametrize("exhibit", CASES)
def test_its_lines_fail_its_check_with_the_same_words_and_numbers(exhibit):
    ((right, _),) = exhibit.instead
    assert said_with(exhibit, ((right, of_lines(exhibit)),)) == said_with(exhibit, exhibit.instead)


BACKWARDS = [p for p in CASES if re.fullmatch(r"\w+_backward", p.values[0].place.__qualname__)]


@pytest.mark.parametrize("exhibit", BACKWARDS)
def test_its_lines_give_what_the_wrong_version_gives(exhibit):
    """The point is the check's own: it calls the wrong version, which hands everything to that of the lines, too."""
    ((right, wrong),) = exhibit.instead
    by_lines, compared = of_lines(exhibit), []

    def both(dy, cache):
        got, want = by_lines(dy, cache), wrong(dy, cache)
        for a, b in zip(_tuple(got), _tuple(want), strict=True):
            if a is not None and b is not None:
                np.testing.assert_allclose(np.asarray(a) + 0.0 * b, b, rtol=1e-9, atol=1e-12)
                compared.append(a)
        return want

    with pytest.raises(AssertionError, match=r"gradient|slope|off by"), exchanged(((right, both),)):
        exhibit.check.run()
    assert compared


def _tuple(value):
    return value if isinstance(value, tuple) else (value,)


# ---- the exercises' checker


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exhibit", WITH_SLIP)
def test_the_exercises_checker_names_it(exhibit):
    slip = exhibit.slip
    solution = find(slip.exercise).solution
    assert solution.count(slip.right) == 1
    assert check_answer(slip.exercise, solution).passed
    verdict = check_answer(slip.exercise, solution.replace(slip.right, slip.wrong))
    said = " ".join(verdict.report.split())
    assert not verdict.passed
    assert f"equals {slip.named}." in said or f"is {slip.named}." in said, verdict.report


def test_many_can_be_met_in_the_exercises():
    assert len(WITH_SLIP) >= 12 and {p.values[0].slip.exercise for p in WITH_SLIP} <= set(TASKS)


# ---- the exchange


def test_an_exchange_ends_also_after_an_error():
    right = fast.layernorm_backward
    with pytest.raises(RuntimeError), exchanged(((right, lambda dy, cache: None),)):
        assert fast.layernorm_backward is not right
        raise RuntimeError
    assert fast.layernorm_backward is right


def test_an_exchange_of_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="pairs had .* which nothing in minilora has"):
        with exchanged(((lambda: None, None),)):
            pass
