"""Adapters between frozen layers: where they stand, what they start as, and backwards that must fail."""

import numpy as np
import pytest

from methods.every import EVERY, tiny_adapted
from methods.tiny import (
    CONFIG,
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
from minilora.gradcheck import GradientError, check_model
from minilora.layers import Block
from minilora.methods import (
    HoulsbyConfig,
    LoRAConfig,
    apply_bitfit,
    apply_houlsby,
    apply_lora,
    apply_top_k,
    houlsby_sublayers,
    lora_layers,
)
from minilora.methods.houlsby import Houlsby, HoulsbySublayer
from minilora.models import save_model
from minilora.parameter import Module

C = CONFIG.d_model


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (HoulsbyConfig("houlsby", 4), ["blocks.0.attn", "blocks.0.mlp", "blocks.1.attn", "blocks.1.mlp"]),
        (HoulsbyConfig("lin", 4), ["blocks.0.mlp", "blocks.1.mlp"]),
        (HoulsbyConfig("pfeiffer", 4), ["blocks.0.mlp", "blocks.1.mlp"]),
        (HoulsbyConfig("pfeiffer", 4, leave_out=1), ["blocks.1.mlp"]),
        (HoulsbyConfig("houlsby", 4, leave_out=1), ["blocks.1.attn", "blocks.1.mlp"]),
    ],
    ids=str,
)
def test_each_kind_stands_behind_its_sublayers(config, paths):
    model = tiny_gpt()
    apply_houlsby(model, config, rng=rng())
    assert list(houlsby_sublayers(model)) == paths
    assert all((layer.adapter.ln is not None) == (config.kind == "lin") for layer in houlsby_sublayers(model).values())
    assert all(".adapter." in name for name in trainable_names(model))


def test_an_adapted_sublayer_gives_h_plus_what_the_adapter_makes_of_it():
    layer = tiny_adapted(EVERY["adapter-l"]).blocks[1].mlp
    x = rng().standard_normal((2, 3, C))
    h, _ = layer.base.forward(x)
    xhat = (h - h.mean(axis=-1, keepdims=True)) / np.sqrt(h.var(axis=-1, keepdims=True) + 1e-5)
    a = layer.adapter
    u = (xhat * a.ln.gain.data + a.ln.bias.data) @ a.down.W.data.T + a.down.bias.data
    gelu = 0.5 * u * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (u + 0.044715 * u**3)))
    expected = h + gelu @ a.up.W.data.T + a.up.bias.data
    assert np.allclose(layer.forward(x)[0], expected, rtol=0, atol=1e-12)


def test_up_and_the_biases_start_as_zero_and_down_between_its_bounds():
    model = tiny_adapted(EVERY["adapter-h"], learned=False)
    for name, p in model.named_parameters():
        if name.endswith(("up.W", "up.bias", "down.bias")) and ".adapter." in name:
            assert not p.data.any(), name
        if name.endswith("down.W"):
            assert p.data.all() and np.abs(p.data).max() < 1 / np.sqrt(C), name


def test_on_the_first_step_up_alone_has_a_gradient_that_is_not_zero():
    """As LoRA's B: while up is zero, nothing reaches down."""
    for name, grad in gradients_of(tiny_adapted(EVERY["adapter-p"], learned=False)).items():
        assert grad.any() == (".up." in name), name


def test_nothing_below_the_first_adapter_is_differentiated(monkeypatch):
    model = tiny_adapted(EVERY["adapter-d"])
    entered = []
    backward = Block.backward
    monkeypatch.setattr(Block, "backward", lambda self, *a, **o: entered.append(self) or backward(self, *a, **o))
    gradients_of(model)
    assert entered == [model.blocks[1]]


def test_who_looks_at_whom_can_still_be_looked_at():
    _, cache = tiny_adapted(EVERY["adapter-h"]).forward(some_batch().ids)
    assert cache.blocks[1].attn.probs.shape == (3, 2, 5, 5)


# ---- any block that has an attn and an mlp


class PostLN(Module):
    """BERT's order, whose attention takes what GPT-2's does not: ln(x + layer(x)), twice."""

    def __init__(self, block):
        self.attn, self.first, self.mlp, self.second = block.attn, block.ln_1, block.mlp, block.ln_2

    def forward(self, x, past=None, **attention):
        h, attn_cache = self.attn.forward(x, past=past, **attention)
        x, first_cache = self.first.forward(x + h)
        h, mlp_cache = self.mlp.forward(x)
        y, second_cache = self.second.forward(x + h)
        return y, (attn_cache, first_cache, mlp_cache, second_cache)

    def backward(self, dy, cache):
        attn_cache, first_cache, mlp_cache, second_cache = cache
        dsum = self.second.backward(dy, second_cache)
        dx = dsum + self.mlp.backward(dsum, mlp_cache)
        dsum = self.first.backward(dx, first_cache)
        return dsum + self.attn.backward(dsum, attn_cache)


@pytest.mark.parametrize("name", ["adapter-h", "adapter-l", "adapter-p", "adapter-d", "bitfit", "top-1", "lora"])
def test_every_method_of_encoders_works_in_a_post_ln_block(name):
    model = tiny_gpt()
    model.blocks = [PostLN(block) for block in model.blocks]
    base = logits_of(model)
    apply = {"bitfit": apply_bitfit, "top-1": lambda model: apply_top_k(model, 1)}
    apply |= {"lora": lambda model: apply_lora(model, LoRAConfig(rank=2), rng=rng())}
    apply.get(name, lambda model: apply_houlsby(model, EVERY[name], rng=rng()))(model)
    assert same_bits(logits_of(model), base)
    for p in model.trainable_parameters():
        p.data += 0.5 * rng(2).standard_normal(p.data.shape)
    check_model(model, some_batch(), rng=rng(4))


# ---- mutants


def without_the_shortcut(self, dy, cache):
    dh = self.adapter.backward(dy, cache.adapter)
    return self.base.backward(dh, cache.base)


def without_the_adapters_part(self, dy, cache):
    self.adapter.backward(dy, cache.adapter)
    return self.base.backward(dy, cache.base)


def shortcut_around_the_sublayer(self, dy, cache):
    dh = self.adapter.backward(dy, cache.adapter)
    return dy + self.base.backward(dh, cache.base)


def without_the_nonlinearity(self, dy, cache):
    dh = self.down.backward(self.up.backward(dy, cache.up), cache.down)
    return dh if self.ln is None else self.ln.backward(dh, cache.ln)


def without_the_layernorm(self, dy, cache):
    dh = self.down.backward(cache.activation.slope * self.up.backward(dy, cache.up), cache.down)
    self.ln.backward(dh, cache.ln)
    return dh


@pytest.mark.parametrize(
    ("owner", "mutant"),
    [
        (HoulsbySublayer, without_the_shortcut),
        (HoulsbySublayer, without_the_adapters_part),
        (HoulsbySublayer, shortcut_around_the_sublayer),
        (Houlsby, without_the_nonlinearity),
        (Houlsby, without_the_layernorm),
    ],
)
def test_a_wrong_backward_fails(monkeypatch, owner, mutant):
    model = tiny_adapted(EVERY["adapter-l"])
    monkeypatch.setattr(owner, "backward", mutant)
    with pytest.raises(GradientError, match="adapter"):
        check_model(model, some_batch(), rng=rng(4))


# ---- beside LoRA


def test_adapters_switch_lora_off_and_lora_switches_adapters_off():
    model = tiny_lora()
    apply_houlsby(model, EVERY["adapter-h"], rng=rng())
    assert same_bits(logits_of(model), logits_of(tiny_gpt()))
    apply_lora(model, LoRAConfig(rank=1), rng=rng(), name="second")
    assert all(name.endswith((".A", ".B")) for name in trainable_names(model))
    assert "blocks.0.attn.q_proj" in lora_layers(model) and not houlsby_sublayers(model)


# ---- what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "wide"}, "kind was 'wide'; it must be one of 'houlsby', 'lin', 'pfeiffer'"),
        ({"size": 0}, "size was 0; it must be an integer of at least 1"),
        ({"size": True}, "size was True; it must be an integer of at least 1"),
        ({"leave_out": -1}, "leave_out was -1; it must be an integer of at least 0"),
        ({"leave_out": 2}, "leave_out was 2; it must be from 0 to 1"),
        ({"size": 7}, "size was 7; it must be from 1 to 6, the model's width"),
        ({"size": 10**12}, "size was 1000000000000; it must be from 1 to 6"),
    ],
)
def test_adapters_that_cannot_be_are_refused_and_the_model_stays_as_it_was(settings, message):
    model = tiny_gpt()
    before = weights_of(model)
    with pytest.raises(ValueError, match=message):
        apply_houlsby(model, HoulsbyConfig(**settings), rng=rng())
    assert same_bits(weights_of(model), before) and trainable_names(model) == list(before)


def test_further_adapters_need_a_name_of_their_own():
    model = tiny_adapted(EVERY["adapter-h"])
    before = weights_of(model)
    with pytest.raises(ValueError, match="name was 'adapter'; the model already has an adapter of this name"):
        apply_houlsby(model, EVERY["adapter-p"], rng=rng())
    assert same_bits(weights_of(model), before)


def test_a_model_with_adapters_is_not_saved_as_a_plain_one(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"the model holds blocks.0.mlp.base.fc_in.W, which a plain GPT .* save_adapter",
    ):
        save_model(tiny_adapted(EVERY["adapter-p"]), tmp_path / "model")
    assert not list(tmp_path.iterdir())
