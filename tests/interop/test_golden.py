"""Against transformers and peft: the same weights give the same logits, loss and gradients (tests/golden/make.py)."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from minilora.data.batches import LMBatch
from minilora.data.classification import ClassificationBatch
from minilora.data.masked import MaskedBatch
from minilora.interop import load_gpt2, load_roberta
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import GPT, RobertaForClassification, RobertaForMaskedLM

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
LOGITS, GRADIENTS = 1e-10, 1e-7

MODELS = {
    "gpt2": (load_gpt2, GPT),
    "roberta_classification": (load_roberta, RobertaForClassification),
    "roberta_masked_lm": (load_roberta, RobertaForMaskedLM),
}


def expected_of(name):
    return load_file(GOLDEN / name / "expected.safetensors")


def inputs_of(expected):
    """What `model.forward` takes."""
    return (expected["ids"], expected["mask"]) if "mask" in expected else (expected["ids"],)


def batch_of(expected):
    """What `model.loss` takes."""
    ids, targets = expected["ids"], expected["targets"]
    if "counted" in expected:
        return MaskedBatch(ids, expected["mask"] == 1, targets, expected["counted"])
    if "mask" in expected:
        return ClassificationBatch(ids, expected["mask"] == 1, targets)
    return LMBatch(ids, targets, np.ones(targets.shape, bool))


def norm_relative(ours, theirs):
    """|| ours - theirs || / || theirs ||"""
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_transformers(name):
    load, model_class = MODELS[name]
    model, expected = load(GOLDEN / name, dtype="float64"), expected_of(name)
    assert type(model) is model_class
    logits, _ = model.forward(*inputs_of(expected))
    assert logits.shape == expected["logits"].shape
    assert np.abs(logits - expected["logits"]).max() < LOGITS


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_of_every_parameter_are_those_of_automatic_differentiation(name):
    load, _ = MODELS[name]
    model, expected = load(GOLDEN / name, dtype="float64"), expected_of(name)
    loss, cache = model.loss(batch_of(expected))
    model.backward_loss(1.0, cache)
    assert abs(loss - expected["loss"]) < LOGITS
    # a checkpoint in which each weight is the loss's gradient: the loader splits and transposes it like the weights
    gradients = load(GOLDEN / name / "gradients", dtype="float64")
    for p, theirs in zip(model.parameters(), gradients.parameters(), strict=True):
        if p.name.endswith("k_proj.bias"):  # zero in mathematics, for softmax does not see a shift
            assert max(np.abs(p.grad).max(), np.abs(theirs.data).max()) < 1e-14
        else:
            assert norm_relative(p.grad, theirs.data) < GRADIENTS, p.name


def test_logits_and_gradients_of_A_and_B_are_those_of_peft():
    folder = GOLDEN / "roberta_classification"
    theirs, expected = load_file(folder / "lora.safetensors"), expected_of("roberta_classification")
    model = load_roberta(folder, dtype="float64")
    apply_lora(model, LoRAConfig(rank=2, alpha=3, targets=("q_proj", "v_proj")), rng=np.random.default_rng(0))
    layers = {
        f"{i}.{name}": getattr(block.attn, f"{name[0]}_proj")
        for i, block in enumerate(model.encoder.blocks)
        for name in ("query", "value")
    }
    for name, layer in layers.items():
        layer.A.data[...], layer.B.data[...] = theirs[f"{name}.A"], theirs[f"{name}.B"]
    logits, _ = model.forward(*inputs_of(expected))
    assert np.abs(logits - theirs["logits"]).max() < LOGITS
    assert np.abs(logits - expected["logits"]).max() > 0.1
    _, cache = model.loss(batch_of(expected))
    model.backward_loss(1.0, cache)
    for name, layer in layers.items():
        assert norm_relative(layer.A.grad, theirs[f"{name}.dA"]) < GRADIENTS
        assert norm_relative(layer.B.grad, theirs[f"{name}.dB"]) < GRADIENTS


def test_a_golden_file_is_small():
    sizes = {path: path.stat().st_size for path in GOLDEN.rglob("*.safetensors")}
    assert sizes and max(sizes.values()) < 200_000
