"""Ratios of speed inside one run, with wide margins, for a machine that has other things to do: ``pytest -m slow``."""

import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median

import pytest

from minilora.arrays.threads import cores
from minilora.experiments.bench.shapes import SHAPES
from minilora.experiments.bench.sides import our_command, rounds, sides

pytestmark = pytest.mark.slow
LADDER = Path(__file__).with_name("ladder.py")


def ratio(commands, prepare, turn, count=7):
    """The median over the rounds of the first side's seconds divided by the second's."""
    with sides(commands) as started:
        for name, side in started.items():
            prepare(name, side)
        seconds = rounds({name: lambda side=side: turn(side) for name, side in started.items()}, count)
    first, second = seconds.values()
    return median(a / b for a, b in zip(first, second, strict=True))


def make(side, method="lora", threads=None):
    side.ask("make", shape=asdict(SHAPES["S2"]), method=method, threads=threads or cores())


def train(side):
    return side.ask("train", n=2)["seconds"]


def test_the_ladder_leads_upwards():
    commands = {"plain": [sys.executable, str(LADDER), "--worker", "0"], "ours": our_command()}
    assert ratio(commands, lambda name, side: make(side), train) > 2.0


@pytest.mark.skipif(cores() < 2, reason="one core")
def test_two_threads_are_faster_than_one():
    commands = {"one": our_command(), "two": our_command()}
    assert ratio(commands, lambda name, side: make(side, threads={"one": 1, "two": 2}[name]), train) > 1.2


def test_full_fine_tuning_is_slower_than_lora():
    commands = {"full": our_command(), "lora": our_command()}
    assert ratio(commands, lambda name, side: make(side, method=name), train) > 1.05


def test_merged_lora_generates_as_fast_as_the_base():
    def prepare(name, side):
        make(side, method="base" if name == "base" else "lora")
        if name == "merged":
            side.ask("merge")

    commands = {"merged": our_command(), "base": our_command()}
    assert 0.8 < ratio(commands, prepare, lambda side: side.ask("generate", n=64)["seconds"]) < 1.25
