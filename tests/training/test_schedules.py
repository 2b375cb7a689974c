import math

import pytest

from minilora.training import schedule_factor

SETTINGS = {"total": 110, "warmup": 10}


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(("step", "factor"), [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0)])
def test_warm_up_rises_linearly_to_one(kind, step, factor):
    assert schedule_factor(step, kind=kind, **SETTINGS) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("kind", "step", "factor"),
    [
        ("constant", 60, 1.0),
        ("constant", 110, 1.0),
        ("linear", 35, 0.75),
        ("linear", 60, 0.5),
        ("linear", 109, 0.01),
        ("linear", 110, 0.0),
        ("cosine", 35, 0.5 + 0.25 * math.sqrt(2)),
        ("cosine", 60, 0.5),
        ("cosine", 110, 0.0),
    ],
)
def test_then_it_goes_down_to_zero(kind, step, factor):
    assert schedule_factor(step, kind=kind, **SETTINGS) == pytest.approx(factor, abs=1e-15)


@pytest.mark.parametrize(("kind", "middle"), [("linear", 0.6), ("cosine", 0.6)])
def test_or_to_a_floor(kind, middle):
    at = [schedule_factor(step, kind=kind, floor=0.2, **SETTINGS) for step in (10, 60, 110)]
    assert at == pytest.approx([1.0, middle, 0.2])


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_it_never_rises_after_the_warm_up_and_stays_at_the_end(kind):
    factors = [schedule_factor(step, kind=kind, floor=0.1, **SETTINGS) for step in range(10, 130)]
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] == pytest.approx(0.1)


def test_without_warm_up_it_starts_at_one():
    assert schedule_factor(0, total=5) == 1.0


def test_a_run_that_is_all_warm_up_never_divides_by_zero():
    assert [schedule_factor(step, total=2, warmup=2) for step in range(3)] == [0.5, 1.0, 1.0]


def test_an_unknown_kind_is_refused_with_the_possible_ones():
    with pytest.raises(ValueError, match="kind was 'step'; it must be one of 'constant', 'linear', 'cosine'"):
        schedule_factor(0, total=5, kind="step")
