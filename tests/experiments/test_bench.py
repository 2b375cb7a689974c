"""`minilora bench`: what it counts is what is computed, and what it compares takes turns."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from math import prod
from pathlib import Path

import numpy as np
import pytest

import device_array
from device_array import to_fake_device
from minilora.cli import main
from minilora.experiments.bench import run as bench
from minilora.experiments.bench import scaling
from minilora.experiments.bench.contenders import Contender, contenders, rounds
from minilora.experiments.bench.shapes import SHAPES, Shape, flops_of_step, products_of_step
from minilora.experiments.bench.worker import Worker

TINY = Shape(L=2, C=16, T=24, N=4, V=32, H=2)
LADDER = Path(__file__).parents[1] / "benchmarks" / "ladder.py"


def worker(shape=TINY, method="lora", threads=1):
    made = Worker()
    made.make(asdict(shape), method, threads)
    return made


# ---- what is counted


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_products_of_a_step_are_those_that_a_step_makes(method, monkeypatch):
    made = worker(method=method)
    flops = []
    call = device_array._call

    def counting(function, name, inputs, kwargs):
        result = call(function, name, inputs, kwargs)
        if name == "matmul" and min(a.ndim for a in inputs) > 1:  # a sum is a product with a vector of ones
            flops.append(2 * prod(result.shape) * inputs[0].shape[-1])
        return result

    monkeypatch.setattr(device_array, "_call", counting)
    for p in made.model.parameters():
        p.data = to_fake_device(p.data)
    _loss, cache = made.model.loss(made.batch)
    made.model.backward_loss(1.0, cache)
    assert sum(flops) == flops_of_step(TINY, method)


def test_causal_tiles_leave_out_most_of_the_upper_triangle():
    attention = [p for p in products_of_step(Shape(L=1, C=16, T=128, N=1, V=32, H=2), "lora") if p.batch > 1]
    whole = 7 * 2 * (2 * 128 * 128 * 8)  # seven products of two heads
    assert sum(p.flops for p in attention) == 0.75 * whole


@pytest.mark.parametrize("shape", [TINY, Shape(L=3, C=24, T=80, N=2, V=32, H=3)])
def test_what_a_step_keeps_is_what_the_formula_says(shape):
    worker(shape).activations()
    kept, formula = worker(shape).activations()["bytes"], scaling.activation_bytes(shape)
    assert formula <= kept <= 1.02 * formula + 20_000  # Python's own objects are some kilobytes


def test_slopes_are_those_of_power_laws():
    points = [
        {"value": v, "seconds": {"median": 2 * v**1.5}, "flops": v**2, "bytes": 7 * v, "bytes_formula": 3}
        for v in (2, 4, 8)
    ]
    expected = {"seconds": 1.5, "flops": 2.0, "bytes": 1.0, "bytes_formula": 0.0}
    assert scaling.slopes(points) == pytest.approx(expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_floor_makes_every_product_once_in_shares(method, threads):
    made = worker(method=method, threads=threads)
    made.floor(1)
    flops = sum(
        product.times * 2 * prod(out.shape) * a.shape[-1]
        for share in made.arrays
        for product, (a, b, out) in zip(made.products, share, strict=True)
    )
    assert flops == flops_of_step(TINY, method)


def test_the_seed_draws_weights_and_ids():
    one, other = Worker(), Worker()
    one.make(asdict(TINY), "lora", 1, seed=1)
    other.make(asdict(TINY), "lora", 1, seed=2)
    assert not np.array_equal(one.batch.ids, other.batch.ids)
    assert one.train(1)["loss"] != other.train(1)["loss"]


def test_scaling_is_refused_on_a_gpu():
    with pytest.raises(ValueError, match="parts held 'scaling'; on a GPU each must be one of train, generate, memory"):
        bench.BenchConfig(parts=("train", "scaling"), device="gpu")


# ---- what is compared


def test_sides_take_turns():
    order = []
    measured = rounds({name: lambda name=name: order.append(name) or len(order) for name in "ab"}, 2)
    assert order == ["a", "b", "a", "b"] and measured == {"a": [1, 3], "b": [2, 4]}


def test_a_ratio_is_of_two_turns_of_one_round():
    result = bench.compared({"minilora": [1.0, 2.0, 4.0], "torch": [3.0, 4.0, 20.0], "floor": [0.5, 1.0, 1.0]})
    assert result["ratio"] == {"median": 3.0, "min": 2.0, "max": 5.0}
    assert result["floor_percent"] == {"median": 50.0, "min": 25.0, "max": 50.0}


def test_a_side_that_stops_says_why():
    with contenders({"broken": [sys.executable, "-c", "raise SystemExit('no such thing')"]}) as started:
        with pytest.raises(RuntimeError, match="stopped at 'train': no such thing"):
            started["broken"].ask("train", n=1)


def test_a_side_is_ended_with_the_comparison():
    with contenders({"ours": [sys.executable, "-m", "minilora.experiments.bench.worker"]}) as started:
        contender = started["ours"]
        assert isinstance(contender, Contender) and contender.ask("memory")["peak_bytes"] > 1e6
    assert contender.process.poll() is not None


def test_the_verb_measures_prints_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    monkeypatch.setattr(scaling, "BASE", TINY)
    monkeypatch.setattr(bench, "TURN_SECONDS", 0.01)
    arguments = ["--shapes", "tiny", "--rounds", "2", "--device", "cpu", "--seed", "3", "--out", str(tmp_path)]
    assert main(["bench", *arguments]) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "bench.json").read_text())
    lora = results["train"]["tiny"]["lora"]
    assert f"{lora['tokens_per_second']:,.0f}" in printed and "tiny, LoRA merged" in printed
    assert 0 < lora["seconds"]["minilora"]["min"] <= lora["seconds"]["minilora"]["median"]
    memory = results["memory"]["tiny"]["lora"]["minilora"]
    assert memory["imports"] <= memory["model"] <= memory["step"]
    assert results["config"]["seed"] == 3
    assert set(results["scaling"]) == {"L", "C", "T", "N", "r"}
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "memory.png", "scaling.png"}


# ---- the ladder


GRADIENTS = """
import json, sys
import numpy as np
import {module}
from minilora import LoRAConfig, apply_lora
from minilora.data import LMBatch
from minilora.experiments.bench.shapes import Shape
from minilora.models import GPT
from minilora.training import objective

{undo}
rng = np.random.default_rng(0)
model = GPT(Shape(L=2, C=16, T=80, N=3, V=32, H=2).config, rng, dtype="float64")
apply_lora(model, LoRAConfig(rank=2, alpha=3), rng=rng)
for p in model.parameters():
    p.data += 0.2 * rng.standard_normal(p.data.shape)  # a generic point
ids = rng.integers(0, 32, (3, 81))
loss = objective.loss_and_backward(model, LMBatch(ids[:, :-1], ids[:, 1:], np.ones((3, 80), bool)))
print(json.dumps([float(loss), *np.concatenate([p.grad.ravel() for p in model.trainable_parameters()]).tolist()]))
"""


def loss_and_gradients(undo="", module="minilora"):
    process = subprocess.run(
        [sys.executable, "-c", GRADIENTS.format(module=module, undo=undo)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(LADDER.parent), str(LADDER.parents[2])])},
        capture_output=True,
        text=True,
        check=True,
    )
    return np.array(json.loads(process.stdout))


@pytest.fixture(scope="module")
def ours():
    return loss_and_gradients()


@pytest.mark.parametrize("rung", [0, 3, 6, 9])
def test_every_rung_of_the_ladder_computes_the_same_loss_and_gradients(rung, ours):
    undone = loss_and_gradients(f"ladder.undo_after({rung})", "ladder")
    assert np.linalg.norm(undone - ours) < 1e-12 * np.linalg.norm(ours)
