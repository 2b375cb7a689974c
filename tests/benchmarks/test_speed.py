"""Ratios of speed inside one run, with wide margins, for a machine that has other things to do: ``pytest -m slow``."""

import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median

import pytest

from minilora.arrays.threads import cores
from minilora.experiments.bench.contenders import contenders, our_command, rounds
from minilora.experiments.bench.shapes import SHAPES

pytestmark = pytest.mark.slow
LADDER = Path(__file__).with_name("ladder.py")


def ratio(commands, prepare, turn, count=7):
    """The median over the rounds of the first contender's seconds divided by the second's."""
    with contenders(commands) as started:
        for name, contender in started.items():
            prepare(name, contender)
        seconds = rounds(
            {name: lambda contender=contender: turn(contender) for name, contender in started.items()}, count
        )
    first, second = seconds.values()
    return median(a / b for a, b in zip(first, second, strict=True))


def make(contender, method="lora", threads=None):
    contender.ask("make", shape=asdict(SHAPES["S2"]), method=method, threads=threads or cores())


def train(contender):
    return contender.ask("train", n=2)["seconds"]


def test_the_ladder_leads_upwards():
    commands = {"plain": [sys.executable, str(LADDER), "--worker", "0"], "ours": our_command()}
    assert ratio(commands, lambda name, contender: make(contender), train) > 2.0


@pytest.mark.skipif(cores() < 2, reason="one core")
def test_two_threads_are_faster_than_one():
    commands = {"one": our_command(), "two": our_command()}
    assert ratio(commands, lambda name, contender: make(contender, threads={"one": 1, "two": 2}[name]), train) > 1.2


def test_full_fine_tuning_is_slower_than_lora():
    commands = {"full": our_command(), "lora": our_command()}
    assert ratio(commands, lambda name, contender: make(contender, method=name), train) > 1.05


def test_merged_lora_generates_as_fast_as_the_base():
    def prepare(name, contender):
        make(contender, method="base" if name == "base" else "lora")
        if name == "merged":
            contender.ask("merge")

    commands = {"merged": our_command(), "base": our_command()}
    assert 0.8 < ratio(commands, prepare, lambda contender: contender.ask("generate", n=64)["seconds"]) < 1.25
