"""micro_lora.py is what the package is: the same logits, loss and gradients for the same weights."""

import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from minilora import GPT, GPTConfig, LoRAConfig, apply_lora
from minilora.data import LMBatch

FILE = Path(__file__).resolve().parent.parent / "micro_lora.py"
SIZES = "V, T, C, F, L = 27, 12, 16, 48, 1"
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")
WORD = [8, 1, 14, 7, 21, 12, 7]  # hangulg: a letter twice, so that its embedding has two gradients


@pytest.fixture(params=[1, 2], ids=["one block", "two blocks"])
def micro(request):
    """The file as a module, with so many blocks."""
    source = FILE.read_text()
    assert SIZES in source
    module = types.ModuleType("micro_lora")
    exec(source.replace(SIZES, SIZES[:-1] + str(request.param)), module.__dict__)
    return module


def package_model(micro, adapter):
    """The package's GPT of micro's shape, in float64, with random weights, no biases, and an adapter if asked for."""
    rng = np.random.default_rng(0)
    sizes = {"vocab_size": micro.V, "n_positions": micro.T, "d_model": micro.C, "d_mlp": micro.F}
    model = GPT(GPTConfig(**sizes, n_layer=micro.L, n_head=1), rng, dtype="float64")
    if adapter:
        apply_lora(model, LoRAConfig(rank=micro.RANK, alpha=micro.SCALE * micro.RANK, targets=TARGETS), rng=rng)
    for name, p in model.named_parameters():
        if name.split(".")[-1] in ("W", "A", "B"):
            p.data[:] = 0.3 * rng.standard_normal(p.data.shape)
    return model


@pytest.mark.parametrize("adapter", [False, True], ids=["all trained", "LoRA"])
def test_micro_lora_is_the_package(micro, adapter):
    model = package_model(micro, adapter)
    named = {name.replace(".base", ""): p for name, p in model.named_parameters()}
    weights = {name: p for name, p in named.items() if name.split(".")[-1] in ("W", "A", "B")}
    P = {name: p.data.tolist() for name, p in weights.items()}
    trained = [name for name, p in weights.items() if p.trainable]
    assert len(trained) == (12 * micro.L if adapter else 6 * micro.L + 2)
    G = {name: np.zeros_like(weights[name].data).tolist() for name in trained}
    loss = micro.word_loss(P, WORD, G)

    ids, targets = np.array([[micro.END, *WORD]]), np.array([[*WORD, micro.END]])  # (1, T)
    batch = LMBatch(ids, targets, np.ones(ids.shape, dtype=bool))
    expected, cache = model.loss(batch)
    model.backward_loss(1.0, cache)
    assert loss == pytest.approx(float(expected), rel=1e-12)
    logits = np.array(micro.forward(P, ids[0].tolist())[0])  # (T, V)
    assert np.abs(logits - model.forward(ids)[0][0]).max() < 1e-12 * np.abs(logits).max()
    for name in trained:
        grad = weights[name].grad
        assert np.linalg.norm(np.array(G[name]) - grad) < 1e-12 * np.linalg.norm(grad), name


def test_training_touches_what_it_is_told_to(micro):
    rng, P = micro.random.Random(0), {}
    for name, (O, I) in micro.SHAPES.items():
        P[name + ".W"] = [[rng.gauss(0, 0.1) for _ in range(I)] for _ in range(O)]
    before = {name: [list(row) for row in W] for name, W in P.items()}
    micro.train(P, ["blocks.0.attn.v_proj.W"], [WORD] * 4, rng, steps=4, rate=0.01)
    assert {name for name in P if P[name] != before[name]} == {"blocks.0.attn.v_proj.W"}


def test_it_is_small_and_needs_nothing():
    source = FILE.read_text()
    assert len(source.splitlines()) <= 200
    imported = re.findall(r"^(?:import|from) (\w+)", source, re.M)
    assert imported and set(imported) <= sys.stdlib_module_names


@pytest.mark.slow
def test_lora_learns_to_spell_and_leaves_the_base_as_it_was():
    printed = subprocess.run([sys.executable, FILE], capture_output=True, text=True, check=True).stdout
    base, adapted, again = re.findall(r"English (\d\.\d+), Korean (\d\.\d+)", printed)
    assert float(base[0]) < 2.7 and float(base[1]) - float(adapted[1]) > 0.7
    assert again == base
