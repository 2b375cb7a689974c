"""The formulas of memory and operations, against what small models take in memory and compute."""

import functools

import numpy as np
import pytest

from accounting.counting import counted, make_counting
from accounting.small import V, batch, traced
from minilora.accounting import (
    ARCHITECTURES,
    Architecture,
    adaptation,
    architecture_of,
    checkpoint_bytes,
    flops_per_token,
    memory_estimate,
    step_estimate,
)
from minilora.accounting.costs import compared_keys
from minilora.methods import LoRAConfig, VeRAConfig, apply_full, apply_lora, apply_vera
from minilora.models import GPT, GPTConfig
from minilora.training import SGD, AdamW, loss_and_backward

L, C, H, F = 4, 64, 4, 192


def small_gpt(T, dtype="float32", n_layer=L):
    return GPT(
        GPTConfig(vocab_size=V, n_positions=T, n_layer=n_layer, d_model=C, n_head=H, d_mlp=F),
        np.random.default_rng(0),
        dtype=dtype,
    )


def adapt(model, method):
    """Apply a method to the model; returns what the formulas say of it."""
    if method in ("lora", "lora-fa"):
        targets, freeze_A = ("q_proj", "v_proj", "fc_in"), method == "lora-fa"
        apply_lora(model, LoRAConfig(rank=3, targets=targets, freeze_A=freeze_A), rng=np.random.default_rng(2))
        return adaptation(architecture_of(model.config), method, rank=3, targets=targets)
    if method == "vera":
        targets = ("q_proj", "v_proj", "fc_in")
        apply_vera(model, VeRAConfig(rank=40, targets=targets), rng=np.random.default_rng(2))
        return adaptation(architecture_of(model.config), "vera", vera_rank=40, targets=targets)
    if method == "top-k":
        model.freeze()
        for block in model.blocks[-2:]:
            for p in block.parameters():
                p.trainable = True
        return adaptation(architecture_of(model.config), "top-k", blocks=2)
    if method == "bitfit":
        for p in model.parameters():
            p.trainable = p.name.endswith("bias")
        return adaptation(architecture_of(model.config), "bitfit")
    apply_full(model)
    return adaptation(architecture_of(model.config), "full")


METHODS = ("full", "lora", "lora-fa", "vera", "top-k", "bitfit")

# ---- operations


@pytest.mark.parametrize("T", [7, 64, 150])
@pytest.mark.parametrize("method", METHODS)
def test_the_operations_of_a_step_are_those_of_the_formula(method, T):
    """Exactly, where the backward goes to the bottom; else but for what the lowest block need not compute of its dx."""
    N, model = 2, small_gpt(T)
    adapted = adapt(model, method)
    if method in ("lora", "lora-fa", "vera"):
        model.wpe.W.trainable = True  # below all blocks
    make_counting(model)
    flops = flops_per_token(architecture_of(model.config), adapted, T)
    example = batch(N, T)
    assert counted(lambda: model.forward(example.ids)) == pytest.approx(N * T * flops.forward, rel=1e-12)
    step = counted(lambda: loss_and_backward(model, example))
    of_one_block = flops.dx / adapted.depth
    assert step <= N * T * flops.training * (1 + 1e-12)
    assert step >= N * T * (flops.training - of_one_block)
    if method != "top-k":
        assert step == pytest.approx(N * T * flops.training, rel=1e-12)


def test_lora_takes_two_thirds_of_full_fine_tuning_and_not_less():
    """dx goes through every frozen W all the same."""
    a = ARCHITECTURES["gpt3-175b"]
    lora, full = (flops_per_token(a, adaptation(a, method), 512) for method in ("lora", "full"))
    assert lora.training / full.training == pytest.approx(2 / 3, rel=0.01)
    assert lora.dx == pytest.approx(full.dx, rel=0.001) and lora.dW < 1e-3 * full.dW


def test_a_forward_takes_two_operations_a_parameter():
    """Kaplan et al. (2020): 2 N a token, where N is all but the embeddings of positions, and attention is small."""
    a = ARCHITECTURES["gpt3-175b"]
    assert flops_per_token(a, adaptation(a, "full"), 1).forward == pytest.approx(2 * a.n_parameters, rel=0.001)


def test_a_prefix_costs_as_much_as_text():
    a = ARCHITECTURES["gpt2"]
    with_prefix = flops_per_token(a, adaptation(a, "prefix-embedding", before=60, after=4), 64)
    assert 64 * with_prefix.forward == pytest.approx(128 * flops_per_token(a, adaptation(a, "bitfit"), 128).forward)
    sizes = {"batch_size": 2, "optimizer": "sgd"}
    with_prefix = memory_estimate(a, adaptation(a, "prefix-layer", before=60, after=4), length=64, **sizes)
    assert with_prefix.activations == memory_estimate(a, adaptation(a, "bitfit"), length=128, **sizes).activations


@pytest.mark.parametrize("T", [1, 63, 64, 65, 200, 256])
def test_a_query_is_compared_with_the_keys_up_to_the_end_of_its_tile(T):
    stops = [min(-(-(query + 1) // 64) * 64, T) for query in range(T)]
    assert compared_keys(T, True) == pytest.approx(sum(stops) / T) and compared_keys(T, False) == T


def test_deberta_compares_with_the_distances_too():
    """Two products more, with 2 T distances each: 4 (2T) C in place of 4 T C."""
    sizes = {"vocab_size": V, "n_positions": 512, "n_layer": L, "d_model": C, "n_head": H}
    plain, deberta = Architecture("roberta", **sizes), Architecture("deberta", **sizes)
    wider = Architecture("deberta", **sizes, conv_width=3)
    plain, deberta, wider = (flops_per_token(a, adaptation(a, "full"), 10) for a in (plain, deberta, wider))
    assert deberta.forward - plain.forward == L * 8 * 10 * C
    assert wider.forward - deberta.forward == wider.dW - deberta.dW == 2 * 3 * C * C


# ---- memory


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("N", "T"), [(16, 32), (8, 64), (4, 160)])
def test_the_activations_that_a_forward_keeps_are_those_of_the_formula(method, N, T):
    """Within 1 %."""
    model, example = small_gpt(T), batch(N, T)
    adapted = adapt(model, method)
    loss_and_backward(model, example)
    kept, _, _ = traced(lambda: model.loss(example))
    estimate = memory_estimate(architecture_of(model.config), adapted, batch_size=N, length=T)
    of_the_head = V * C * 4 if method == "full" else 0  # dW of the head, which the loss has already: a gradient
    assert kept - of_the_head == pytest.approx(estimate.activations, rel=0.01)


def test_lora_fa_keeps_what_lora_keeps_but_for_the_inputs_of_A():
    """By formula C for q_proj and v_proj together, and C for fc_in, in each block and for each token; and measured."""
    N, T, kept, estimates = 8, 64, {}, {}
    example = batch(N, T)
    for method in ("lora", "lora-fa"):
        model = small_gpt(T)
        adapted = adapt(model, method)
        loss_and_backward(model, example)
        kept[method], _, _ = traced(functools.partial(model.loss, example))
        estimates[method] = memory_estimate(architecture_of(model.config), adapted, batch_size=N, length=T).activations
    saved = N * T * L * 2 * C * 4
    assert estimates["lora"] - estimates["lora-fa"] == saved
    assert kept["lora"] - kept["lora-fa"] == pytest.approx(saved, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("T", [32, 160])
def test_a_step_takes_the_memory_of_the_formula(method, T):
    """Gradients, activations and the largest temporary, within 10 %; weights and optimizer to the byte."""
    N, model = 4096 // T // 4, small_gpt(T, n_layer=8)
    adapted = adapt(model, method)
    example = batch(N, T)
    loss_and_backward(model, example)
    model.zero_grad()
    _, peak, _ = traced(lambda: loss_and_backward(model, example))
    estimate = memory_estimate(architecture_of(model.config), adapted, batch_size=N, length=T)
    assert peak == pytest.approx(estimate.gradients + estimate.activations + estimate.workspace, rel=0.1)
    assert sum(p.grad.nbytes for p in model.trainable_parameters()) == estimate.gradients
    assert sum(p.data.nbytes for p in model.parameters()) == estimate.weights
    optimizer = AdamW(model.parameters(), lr=1e-3)
    assert sum(a.nbytes for state in optimizer.state for a in state.values()) == estimate.optimizer


@pytest.mark.parametrize("method", METHODS)
def test_the_estimate_of_a_model_in_memory_is_that_of_its_method(method):
    """But for the r values of x A^T that LoRA keeps of each token."""
    model, sizes = small_gpt(32), {"batch_size": 3, "length": 20, "optimizer": "sgd"}
    adapted = adapt(model, method)
    expected = memory_estimate(architecture_of(model.config), adapted, **sizes)
    of_ranks = 3 * 20 * 3 * 3 * L * 4 if method in ("lora", "lora-fa") else 0
    of_ranks += 3 * 20 * L * (3 * 40 + 2 * C + F) * 4 if method == "vera" else 0
    assert step_estimate(model, **sizes) == expected._replace(activations=expected.activations - of_ranks)


def test_a_method_without_a_formula_has_an_estimate_too():
    model, sizes = small_gpt(32, dtype="float64"), {"batch_size": 1, "length": 8}
    apply_lora(model, LoRAConfig(rank=2, targets=("blocks.1.attn.o_proj", "fc_out")), rng=np.random.default_rng(2))
    estimate, base = step_estimate(model, **sizes), step_estimate(small_gpt(32, dtype="float64"), **sizes)
    assert estimate.weights - base.weights == estimate.gradients == 8 * (2 * (C + C) + L * 2 * (C + F))
    model.freeze()
    assert estimate.activations - step_estimate(model, **sizes).activations == 8 * 8 * (L * F + C)


def test_sgd_keeps_half_of_adamw_s_state():
    model = small_gpt(8)
    a, full = architecture_of(model.config), adapt(model, "full")
    estimate = memory_estimate(a, full, batch_size=1, length=8, optimizer="sgd")
    optimizer = SGD(model.parameters(), lr=1e-3)
    assert sum(array.nbytes for state in optimizer.state for array in state.values()) == estimate.optimizer
    assert 2 * estimate.optimizer == memory_estimate(a, full, batch_size=1, length=8).optimizer


def test_adam_s_two_thirds_of_the_paper():
    """Section 4.2: without the state of frozen weights, a third of weights, m and v remains."""
    a = ARCHITECTURES["gpt3-175b"]
    full, lora = (
        memory_estimate(a, adaptation(a, method, rank=4), batch_size=1, length=1) for method in ("full", "lora")
    )
    remaining = (lora.weights + lora.optimizer) / (full.weights + full.optimizer)
    assert remaining == pytest.approx(1 / 3, rel=0.001)


def test_checkpoints_of_the_paper():
    """Section 4.2: 350 GB against 35 MB, in float16, with r = 4 on W_q and W_v: "roughly 10,000" times smaller."""
    a = ARCHITECTURES["gpt3-175b"]
    full, lora = (checkpoint_bytes(adaptation(a, method, rank=4), 2) for method in ("full", "lora"))
    assert round(full / 1e9, -1) == 350 and round(lora / 2**20) == 36 and 9_000 < full / lora < 10_000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size was 0; it must be an integer of at least 1"),
        ({"length": 1.5}, "length was 1.5"),
        ({"bytes_each": -4}, "bytes_each was -4"),
        ({"optimizer": "lion"}, "optimizer was 'lion'; it must be one of sgd, adamw"),
    ],
)
def test_sizes_that_cannot_be_are_refused(settings, message):
    a = ARCHITECTURES["gpt2"]
    with pytest.raises(ValueError, match=message):
        memory_estimate(a, adaptation(a, "full"), **{"batch_size": 1, "length": 1} | settings)
