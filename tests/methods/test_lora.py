"""What makes LoRA LoRA: it starts as the base, trains A and B alone, and learns a delta_W of rank r."""

import numpy as np
import pytest

from methods.tiny import (
    EVERYWHERE,
    SMALL_LORA,
    gradients_of,
    logits_of,
    rng,
    same_bits,
    some_batch,
    tiny_gpt,
    tiny_lora,
    trainable_names,
    weights_of,
)
from minilora.methods import LoRAConfig, apply_full, apply_lora, lora_layers
from minilora.training import AdamW, loss_and_backward

WIDE = LoRAConfig(rank=3, alpha=5, targets=EVERYWHERE, rank_pattern={"fc_in": 1})


def fresh_lora(config=SMALL_LORA, dtype="float64"):
    model = tiny_gpt(dtype)
    apply_lora(model, config, rng=rng(1))
    return model


# ---- the start


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_with_B_zero_the_logits_are_the_bases_to_the_bit(dtype):
    assert same_bits(logits_of(fresh_lora(WIDE, dtype)), logits_of(tiny_gpt(dtype)))


def test_on_the_first_step_every_dA_is_zero_and_no_dB_is():
    grads = gradients_of(fresh_lora(WIDE))
    assert len(grads) == 2 * 6 * 2
    assert not any(grad.any() for name, grad in grads.items() if name.endswith(".A"))
    assert all(grad.all() for name, grad in grads.items() if name.endswith(".B"))


def test_the_first_step_moves_B_alone_and_the_second_A_too():
    model = fresh_lora()
    start, optimizer = weights_of(model), AdamW(model.parameters(), lr=0.01)
    moved = []
    for _ in range(2):
        gradients_of(model)
        optimizer.step()
        moved.append({name[-1] for name, w in weights_of(model).items() if not same_bits(w, start[name])})
    assert moved == [{"B"}, {"A", "B"}]


# ---- what is trained


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_leaves_every_frozen_weight_as_it_was_to_the_bit(dtype):
    model = fresh_lora(WIDE, dtype)
    before, optimizer = weights_of(model), AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for seed in range(5):
        model.zero_grad()
        loss_and_backward(model, some_batch(seed=seed))
        optimizer.step()
    for name, p in model.named_parameters():
        assert same_bits(p.data, before[name]) == (not p.trainable), name
        assert (p.grad is None) == (not p.trainable), name


def test_A_and_B_alone_are_trainable_under_the_names_of_their_layers():
    assert trainable_names(fresh_lora(LoRAConfig(rank=2, targets=("q_proj",)))) == [
        "blocks.0.attn.q_proj.A",
        "blocks.0.attn.q_proj.B",
        "blocks.1.attn.q_proj.A",
        "blocks.1.attn.q_proj.B",
    ]


def test_the_frozen_weight_is_the_layers_base():
    model = tiny_gpt()
    W = model.blocks[0].attn.q_proj.W
    apply_lora(model, SMALL_LORA, rng=rng(1))
    assert dict(model.named_parameters())["blocks.0.attn.q_proj.base.W"] is W
    assert W.name == "blocks.0.attn.q_proj.base.W"


@pytest.mark.parametrize(
    ("targets", "count"),
    [
        (("q_proj", "v_proj"), 2 * 2 * 3 * (6 + 6)),
        (("fc_in",), 2 * 3 * (6 + 10)),
        (("blocks.1.mlp.fc_out",), 3 * (10 + 6)),
        (("attn.o_proj", "fc_out"), 2 * 3 * (6 + 6) + 2 * 3 * (10 + 6)),
    ],
)
def test_each_adapted_layer_has_r_times_I_plus_O_trainable_numbers(targets, count):
    model = fresh_lora(LoRAConfig(rank=3, targets=targets))
    assert sum(p.data.size for p in model.trainable_parameters()) == count


# ---- what is learned


def test_delta_W_has_at_most_rank_r():
    for path, layer in lora_layers(tiny_lora(WIDE)).items():
        singular = np.linalg.svd(layer.delta_W(), compute_uv=False)
        r = WIDE.rank_of(path)
        assert (singular[:r] > 1e-3).all() and (singular[r:] < 1e-12).all(), path


def test_dA_and_dB_are_projections_of_full_fine_tunings_gradient():
    """dB = scale G A^T and dA = scale B^T G, with G the gradient of W + delta_W where everything is trained."""
    adapted, full = tiny_lora(WIDE), tiny_gpt()
    whole = dict(full.named_modules())
    for path, layer in lora_layers(adapted).items():
        whole[path].W.data += layer.delta_W()
    grads, full_grads = gradients_of(adapted), gradients_of(full)
    for path, layer in lora_layers(adapted).items():
        G = full_grads[f"{path}.W"]
        assert np.allclose(grads[f"{path}.B"], layer.scale * G @ layer.A.data.T, rtol=0, atol=1e-12), path
        assert np.allclose(grads[f"{path}.A"], layer.scale * layer.B.data.T @ G, rtol=0, atol=1e-12), path


# ---- full fine-tuning, for comparison


def test_apply_full_makes_everything_trainable_after_a_freeze():
    model = tiny_gpt()
    model.freeze()
    apply_full(model)
    assert trainable_names(model) == [name for name, _ in model.named_parameters()]
    assert gradients_of(model).keys() == dict(model.named_parameters()).keys()


def test_what_apply_full_makes_trainable_gets_a_gradient_also_after_lora():
    model = tiny_lora()
    apply_full(model)
    assert trainable_names(model) == list(gradients_of(model))
    assert "blocks.0.attn.q_proj.base.W" in trainable_names(model)
