"""A Llama's operations and memory by formula, against what a small one computes and takes in memory."""

import numpy as np
import pytest

from accounting.counting import CountingArray, counted, make_counting
from accounting.small import V, batch, traced
from minilora.accounting import (
    ARCHITECTURES,
    adaptation,
    architecture_of,
    count_parameters,
    flops_per_token,
    memory_estimate,
    step_estimate,
)
from minilora.methods import LoRAConfig, apply_full, apply_lora
from minilora.models import Llama, LlamaConfig
from minilora.ops.fast import rope_forward
from minilora.training import loss_and_backward

TARGETS = {
    "full": None,
    "q, v": ("q_proj", "v_proj"),
    "up, down": ("up_proj", "down_proj"),
    "all seven": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
each = pytest.mark.parametrize("name", TARGETS)


def small_llama(n_layer=4, recompute=False):
    config = LlamaConfig(
        vocab_size=V, n_positions=256, n_layer=n_layer, d_model=64, n_head=6, n_kv_head=2, head_size=16, d_mlp=160
    )
    model = Llama(config, np.random.default_rng(0))
    model.recompute = recompute
    return model


def adapt(model, name):
    """Apply LoRA to the targets, or full fine-tuning; returns what the formulas say of it."""
    if TARGETS[name] is None:
        apply_full(model)
        return adaptation(architecture_of(model.config), "full")
    apply_lora(model, LoRAConfig(rank=3, targets=TARGETS[name]), rng=np.random.default_rng(2))
    return adaptation(architecture_of(model.config), "lora", rank=3, targets=TARGETS[name])


@each
def test_what_is_trained_is_what_a_model_in_memory_trains(name):
    model = small_llama()
    adapted = adapt(model, name)
    assert adapted.trainable == count_parameters(model).trainable


@each
@pytest.mark.parametrize("T", [7, 64, 150])
def test_the_operations_of_a_step_are_those_of_the_formula(monkeypatch, name, T):
    def counting_rope(x, cos, sin):  # which fills an empty array, that would not count
        y, cache = rope_forward(x, cos, sin)
        return y.view(CountingArray), cache

    monkeypatch.setattr("minilora.layers.attention.rope_forward", counting_rope)
    N, model = 2, small_llama()
    adapted = adapt(model, name)
    model.wte.W.trainable = True  # below all blocks
    make_counting(model)
    flops = flops_per_token(architecture_of(model.config), adapted, T)
    example = batch(N, T)
    assert counted(lambda: model.forward(example.ids)) == pytest.approx(N * T * flops.forward, rel=1e-12)
    step = counted(lambda: loss_and_backward(model, example))
    assert step == pytest.approx(N * T * flops.training, rel=1e-12)


@each
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("N", "T"), [(64, 32), (16, 160)])
def test_a_step_takes_the_memory_of_the_formula(name, recompute, N, T):
    """What a forward keeps within 4 % (r values of x A^T are not counted); the peak of the whole step within 10 %."""
    model, example = small_llama(recompute=recompute), batch(N, T)
    adapted = adapt(model, name)
    loss_and_backward(model, example)
    model.zero_grad()
    estimate = step_estimate(model, batch_size=N, length=T)
    if name == "full":
        assert estimate == memory_estimate(
            architecture_of(model.config), adapted, batch_size=N, length=T, recompute=recompute
        )
    kept, _, _ = traced(lambda: model.loss(example))
    _, peak, _ = traced(lambda: loss_and_backward(model, example))
    if not recompute:
        of_the_head = V * 64 * 4 if name == "full" else 0  # dW of the head, which the loss has already
        assert kept - of_the_head == pytest.approx(estimate.activations, rel=0.04)
    assert peak == pytest.approx(estimate.gradients + estimate.activations + estimate.workspace, rel=0.1)


def test_recomputation_keeps_an_input_a_block_and_one_block():
    a = ARCHITECTURES["smollm2-135m"]
    lora, sizes = adaptation(a, "lora", rank=8), {"batch_size": 1, "length": 512}
    kept, again = (memory_estimate(a, lora, **sizes, recompute=on) for on in (False, True))
    assert again.activations < kept.activations / 4
    assert again._replace(activations=0) == kept._replace(activations=0)


def test_lora_on_smollm2_has_the_sizes_of_its_notes():
    a = ARCHITECTURES["smollm2-135m"]
    assert adaptation(a, "lora", rank=8).trainable == 460_800
    assert adaptation(a, "lora", rank=8, targets=TARGETS["all seven"]).trainable == 2_442_240


@pytest.mark.parametrize(
    ("name", "method", "settings", "message"),
    [
        ("smollm2-135m", "bitfit", {}, "method was 'bitfit', but the architecture has no biases to train"),
        ("smollm2-135m", "lora", {"targets": ("fc_in",)}, "each must be one of q_proj, .*, up_proj, down_proj"),
        ("gpt2", "lora", {"targets": ("gate_proj",)}, "each must be one of q_proj, .*, fc_in, fc_out"),
    ],
)
def test_what_cannot_be_is_refused(name, method, settings, message):
    with pytest.raises(ValueError, match=message):
        adaptation(ARCHITECTURES[name], method, **settings)
