"""`minilora bench`: what it counts is what is computed, and what it compares takes turns."""

import json
import os
import platform
import re
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
from minilora.experiments.bench import blas, medians, report, scaling
from minilora.experiments.bench import contenders as contenders_module
from minilora.experiments.bench import run as bench
from minilora.experiments.bench.contenders import Contender, contenders, rounds
from minilora.experiments.bench.shapes import SHAPES, Shape, flops_of_step, products_of_step
from minilora.experiments.bench.worker import Worker
from minilora.experiments.record import provenance
from minilora.interop.smollm2 import smollm2_file

TINY = Shape(L=2, C=16, T=24, N=4, V=32, H=2)
LLAMA = Shape(L=2, C=16, T=24, N=3, V=32, H=4, G=2, F=24)
PEER = os.environ.get("MINILORA_PEER_PYTHON", "")
LADDER = Path(__file__).parents[1] / "benchmarks" / "ladder.py"


def worker(shape=TINY, method="lora", threads=1):
    made = Worker()
    made.make(asdict(shape), method, threads)
    return made


# ---- what is counted


@pytest.mark.parametrize("shape", [TINY, LLAMA], ids=["GPT", "Llama"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_products_of_a_step_are_those_that_a_step_makes(method, shape, monkeypatch):
    made = worker(shape, method)
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
    assert sum(flops) == flops_of_step(shape, method)


def test_the_shape_of_smollm2_is_smollm2_s():
    config = SHAPES["smollm2"].config
    numbers = config.vocab_size * config.d_model + config.d_model  # the embedding, and the last norm
    attention = 2 * config.d_model**2 + 2 * config.d_model * config.n_kv_head * config.head_size
    numbers += config.n_layer * (attention + 3 * config.d_model * config.d_mlp + 2 * config.d_model)
    assert numbers == 134_515_008 and config.head_size == 64  # as Hugging Face's model page counts them


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
    turns = {"minilora": [1.0, 2.0, 4.0], "torch": [3.0, 4.0, 20.0], "floor": [0.5, 1.0, 1.0]}
    result = bench.compared({**turns, "torch-compiled": [2.0, 2.0, 2.0]})
    assert result["ratio"] == {"median": 3.0, "min": 2.0, "max": 5.0}
    assert result["ratios"] == {"torch-compiled": {"median": 1.0, "min": 0.5, "max": 2.0}}
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
    arguments = [
        "--shapes",
        "tiny",
        "--rounds",
        "2",
        "--most-rounds",
        "2",
        "--device",
        "cpu",
        "--seed",
        "3",
        "--out",
        str(tmp_path),
    ]
    assert main(["bench", *arguments]) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "bench.json").read_text())
    lora = results["train"]["tiny"]["lora"]
    assert f"{lora['tokens_per_second']:,.0f}" in printed and "tiny, LoRA merged" in printed
    assert blas.in_words(results["blas"]) in printed and max(map(len, printed.splitlines())) <= 80
    assert lora["rounds"] == 2 and "NOT every 95 % interval" in printed
    assert 0 < lora["seconds"]["minilora"]["min"] <= lora["seconds"]["minilora"]["median"]
    memory = results["memory"]["tiny"]["lora"]["minilora"]
    assert memory["imports"] <= memory["model"] <= memory["step"]
    assert results["config"]["seed"] == 3
    assert set(results["scaling"]) == {"L", "C", "T", "N", "r"}
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "memory.png", "scaling.png"}


# ---- how well a median is known


@pytest.mark.parametrize(("n", "k"), [(6, 1), (7, 1), (8, 1), (9, 2), (12, 3), (20, 6), (30, 10)])
def test_the_interval_of_a_median_holds_it_as_often_as_it_says(n, k):
    values = np.random.default_rng(n).exponential(size=(4000, n))  # not symmetric; its median is log 2
    found = np.array([medians.interval(row) for row in values])
    np.testing.assert_array_equal(found, np.sort(values, axis=1)[:, [k - 1, n - k]])
    inside = np.mean((found[:, 0] <= np.log(2)) & (np.log(2) <= found[:, 1]))
    assert inside > 0.945
    narrower = np.sort(values, axis=1)[:, [k, n - k - 1]]  # one further in: the mutant
    assert np.mean((narrower[:, 0] <= np.log(2)) & (np.log(2) <= narrower[:, 1])) < 0.945


def test_five_values_have_no_interval_of_95_percent():
    assert medians.interval([1.0, 1.1, 1.2, 1.3, 1.4]) is None and medians.width([1.0] * 5) == np.inf
    assert medians.width([1.0, 1.1, 1.2, 1.3, 1.4, 1.5]) == pytest.approx(0.5 / 1.25)


def test_rounds_go_on_until_every_median_is_known(monkeypatch):
    monkeypatch.setattr(contenders_module, "PAUSE", 0)
    steady = iter(np.tile([1.0, 1.01], 50))
    assert len(rounds({"steady": lambda: next(steady)}, 3, 40)["steady"]) == medians_needed(1)
    noisy = iter(np.tile([1.0, 2.0], 50))
    assert len(rounds({"noisy": lambda: next(noisy)}, 3, 40)["noisy"]) == 40
    both = {"noisy": lambda: next(noisy), "steady": lambda: next(steady)}
    assert len(rounds(both, 3, 12)["steady"]) == 12, "one that is not known is enough"
    assert len(rounds({"steady": lambda: next(steady)}, 9, 40)["steady"]) == 9, "at least as many as were asked for"
    assert len(rounds({"noisy": lambda: next(noisy)}, 4)["noisy"]) == 4


def medians_needed(k):
    """The fewest values whose smallest and largest, k deep, make an interval."""
    return next(n for n in range(1, 100) if medians.interval(range(n)) == (k - 1, n - k))


def test_what_is_not_known_is_said():
    known = bench.compared({"minilora": [1.0] * 7, "torch": [2.0] * 7})
    assert known["rounds"] == 7 and known["widths"] == {"minilora": 0.0, "torch": 0.0}
    (said,) = report.how_well_known({"train": {"S1": {"lora": known}}})
    assert said == "The 95 % interval of each median of seconds is narrower than 5 % of it, after 7 rounds."
    wide = bench.compared({"minilora": [1.0] * 7, "torch": [2.0, 2.2, 2.0, 2.1, 2.0, 2.0, 2.0]})
    few = bench.compared({"minilora": [1.0]})
    (said,) = report.how_well_known({"train": {"S1": {"lora": wide, "full": few}}})
    assert said.startswith(
        "NOT every 95 % interval of a median of seconds is narrower than 5 % of it, after 1 to 7 rounds"
    )
    assert said.endswith(": S1, lora, torch, 10 %; S1, full, minilora, too few rounds.")
    assert report.how_well_known({"train": {"S1": {"lora": {"seconds": {}}}}}) == [], "an older file"


# ---- which kernel


def asked_with(**environment):
    """What `blas` and `pinned` say in a process with these environment variables."""
    code = "import json; from minilora.experiments.bench import blas as b; print(json.dumps([b.blas(), b.pinned()]))"
    pinning = (blas.KERNEL, blas.L2_SIZE)
    plain = {name: value for name, value in os.environ.items() if name not in pinning}
    run = {"capture_output": True, "text": True, "check": True, "env": plain | environment}
    return json.loads(subprocess.run([sys.executable, "-c", code], **run).stdout)


def test_a_kernel_that_a_variable_pins_is_told():
    free, said = asked_with()
    assert said == [] and free["cores"] == len(os.sched_getaffinity(0)) and free["of"] == os.cpu_count()
    if free["library"] != "openblas" or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("no OpenBLAS with the kernels of x86-64")
    line = blas.in_words(free)
    assert f"kernel {free['kernel']}, on {free['cores']} of {free['of']} cores" in line and free["version"] in line
    old, said = asked_with(OPENBLAS_CORETYPE="Nehalem")
    assert old["kernel"] == "Nehalem" != free["kernel"]
    (told,) = said
    assert told.startswith(
        "OPENBLAS_CORETYPE was Nehalem, so OpenBLAS computes with its kernel for Nehalem; without it"
    )
    assert told.endswith(f", the kernel would be the one for {free['kernel']}")
    assert asked_with(OPENBLAS_CORETYPE=free["kernel"])[1] == [], "it would have been chosen anyway"
    ((only),) = asked_with(OPENBLAS_L2_SIZE="256")[1]
    assert only.startswith("OPENBLAS_L2_SIZE was 256, so OpenBLAS cuts its products for an L2 of that size")


# ---- the peers themselves


@pytest.mark.slow
@pytest.mark.skipif(not Path(PEER).is_file(), reason="needs a Python with torch and xllamacpp: MINILORA_PEER_PYTHON")
def test_the_peers_take_part(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    try:
        smollm2_file()
    except RuntimeError as error:
        pytest.skip(str(error))
    monkeypatch.setitem(SHAPES, "smollm2", Shape(L=2, C=32, T=8, N=1, V=49152, H=2, G=1, F=64))
    monkeypatch.setattr(bench, "TURN_SECONDS", 0.01)
    against = ("torch", "torch-compiled", "llama.cpp")
    sizes = {"shapes": ("smollm2",), "methods": ("lora",), "rounds": 1, "most_rounds": 1, "threads": 1}
    config = bench.BenchConfig(parts=("train", "generate"), against=against, peer_python=PEER, **sizes)
    results = bench.run(config, tmp_path)
    train, base = results["train"]["smollm2"]["lora"], results["generate"]["smollm2"]["base"]
    assert set(base["seconds"]) == {"minilora", "torch", "llama.cpp"} and base["ratios"]["llama.cpp"]["median"] > 0
    assert set(results["generate"]["smollm2"]["lora"]["seconds"]) == {"minilora", "torch"}
    compiled = "torch-compiled"
    assert compiled in train["seconds"] or "stopped at" in results["left_out"][f"{compiled}, smollm2, lora"]
    assert {"torch", "peft", "xllamacpp"} <= results["provenance"].keys()
    printed = "\n".join(report.report(results, tmp_path))
    assert "against llama.cpp" in printed and "too few rounds" in printed


def test_a_peer_that_does_not_work_is_left_out_and_told(tmp_path, monkeypatch):
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    monkeypatch.setattr(bench, "TURN_SECONDS", 0.01)
    broken = [sys.executable, "-c", "raise SystemExit('no compiler')"]
    monkeypatch.setattr(bench, "about", lambda commands: {"provenance": provenance()})
    monkeypatch.setattr(bench, "peer_command", lambda python, name: broken)
    sizes = {"shapes": ("tiny",), "methods": ("lora",), "rounds": 1, "most_rounds": 1, "threads": 1}
    for part, name in (("train", "torch-compiled"), ("generate", "llama.cpp")):
        results = bench.run(bench.BenchConfig(parts=(part,), against=(name,), peer_python="python", **sizes), tmp_path)
        ((_, why),) = results["left_out"].items()
        assert "no compiler" in why or "only SmolLM2's shape" in why
        assert any("left out; " in line for line in report.report(results, tmp_path))
        with pytest.raises(RuntimeError, match="no compiler"):
            bench.run(bench.BenchConfig(parts=(part,), against=("torch",), peer_python="python", **sizes), tmp_path)


def test_where_the_system_does_not_say_it_memory_is_left_out_and_told(tmp_path, monkeypatch):
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    monkeypatch.setattr(bench, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(bench, "find_spec", lambda name: None)  # as on Windows
    monkeypatch.setitem(sys.modules, "resource", None)
    assert Worker().peak_bytes() is None
    sizes = {"shapes": ("tiny",), "methods": ("lora",), "rounds": 1, "most_rounds": 1, "threads": 1}
    results = bench.run(bench.BenchConfig(parts=("train", "memory"), **sizes), tmp_path)
    assert "memory" not in results and results["train"]["tiny"]
    assert "memory: left out; this system does not say" in "\n".join(report.report(results, tmp_path))


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


@pytest.mark.parametrize("typed", ["--peer-python /a/python", "--peer-python=/a/python", "--peer-python '/a b/python'"])
def test_where_the_peers_lie_is_not_recorded(typed):
    command = f"minilora bench train --against torch {typed} --out figures/bench"
    assert bench.without_peer_python(command) == "minilora bench train --against torch --out figures/bench"


def test_no_result_holds_a_path_of_the_machine_that_made_it():
    results = list((Path(__file__).resolve().parents[2] / "figures").rglob("*.json"))
    assert len(results) > 30
    assert not [path.name for path in results if re.search(r'[ "=]/\w[^/" ]*/', path.read_text(encoding="utf-8"))]
