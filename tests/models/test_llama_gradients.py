"""The gradients of a whole Llama: right, for every kind of Llama, and no more than was asked for."""

import numpy as np
import pytest

from minilora.data.batches import LMBatch
from minilora.gradcheck import GradientError, check_model
from minilora.layers import Embedding, LlamaBlock
from minilora.layers.made_again import put_back
from minilora.ops import plain_ops
from minilora.ops.fast import (
    attention_backward,
    cross_entropy_backward,
    cross_entropy_forward,
    rmsnorm_backward,
    rope_forward,
    silu_gate_backward,
)
from models.tiny_llama import KINDS, tiny_llama


def rng():
    return np.random.default_rng(1)


@pytest.fixture(params=KINDS)
def model(request):
    return tiny_llama(request.param)


def gradients(model, batch):
    """By `forward`, which computes all logits."""
    logits, cache = model.forward(batch.ids)
    _, loss_cache = cross_entropy_forward(logits, batch.targets, batch.loss_mask)
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    return {name: p.grad for name, p in model.named_parameters()}


# ---- right


@pytest.mark.parametrize("plain", [False, True], ids=["engine", "page"])
def test_every_parameter_passes(model, batch, plain):
    if plain:
        with plain_ops():
            slopes = check_model(model, batch, rng=rng())
    else:
        slopes = check_model(model, batch, rng=rng())
    assert list(slopes) == [name for name, _ in model.named_parameters()]


def test_a_row_of_several_texts_passes(model, batch):
    packed = LMBatch(*(a.reshape(1, 14) for a in batch[:3]), text_lengths=((5, 2, 7),))
    assert check_model(model, packed, rng=rng())


def test_loss_gives_what_forward_and_cross_entropy_give(model, batch):
    expected = gradients(model, batch)
    expected_loss, _ = cross_entropy_forward(model.forward(batch.ids)[0], batch.targets, batch.loss_mask)
    model.zero_grad()
    loss, cache = model.loss(batch)
    model.backward_loss(0.5, cache)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-13)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad, 0.5 * expected[name], atol=1e-13, err_msg=name)


@pytest.mark.parametrize(
    "prefix", ["wte.W", "lm_head.W", "rms_f", "blocks.1.attn.k_proj.W", "blocks.0.rms_1.gain", "blocks.0.mlp.up_proj"]
)
def test_gradients_do_not_depend_on_what_else_is_trainable(batch, prefix):
    expected = gradients(tiny_llama(), batch)
    model = tiny_llama()
    model.freeze()
    for name, p in model.named_parameters():
        p.trainable = name.startswith(prefix)
    for name, grad in gradients(model, batch).items():
        assert np.allclose(grad, expected[name], rtol=0, atol=1e-12) if name.startswith(prefix) else grad is None


def test_a_tied_head_adds_the_gradients_of_two_uses(batch):
    tied, untied = tiny_llama("tied"), tiny_llama("grouped")
    for (_, p), (_, q) in zip(tied.named_parameters(), untied.named_parameters(), strict=False):
        q.data = p.data.copy()
    untied.lm_head.W.data = tied.wte.W.data.copy()
    both, each = gradients(tied, batch), gradients(untied, batch)
    np.testing.assert_allclose(both["wte.W"], each["wte.W"] + each["lm_head.W"], atol=1e-13)
    assert abs(each["wte.W"]).max() > 0.01 and abs(each["lm_head.W"]).max() > 0.01


def test_a_frozen_embedding_ends_the_backward_at_the_lowest_trainable_block(monkeypatch, batch):
    visited, backward = [], LlamaBlock.backward
    monkeypatch.setattr(LlamaBlock, "backward", lambda self, *args: visited.append(self) or backward(self, *args))
    model = tiny_llama("tied")
    model.freeze()
    model.blocks[1].rms_2.gain.trainable = True
    gradients(model, batch)
    assert visited == [model.blocks[1]]


# ---- wrong, and caught


def block_without_the_residual(self, dz, cache):
    mlp_cache = put_back(cache.mlp, "rms_2(y)", lambda: self.rms_2.again(cache.rms_2))
    dy = self.rms_2.backward(self.mlp.backward(dz, mlp_cache), cache.rms_2)
    attn_cache = put_back(cache.attn, "rms_1(x)", lambda: self.rms_1.again(cache.rms_1))
    return self.rms_1.backward(self.attn.backward(dy, attn_cache), cache.rms_1)


def attention_that_forgets_dk(dy, cache):
    dq, dk, dv = attention_backward(dy, cache)
    return dq, 0.0 * dk, dv


def gate_and_up_exchanged(dy, cache):
    dgate, dup = silu_gate_backward(dy, cache)
    return dup, dgate


MUTANTS = {
    "a block without the residual": ((LlamaBlock, "backward"), block_without_the_residual, "blocks.0.mlp.down_proj.W"),
    "attention that forgets dk": (
        "layers.attention.attention_backward",
        attention_that_forgets_dk,
        "blocks.1.attn.k_proj.W",
    ),
    "a rotation that is not taken back": (
        "layers.attention.rope_backward",
        lambda dy, cache: rope_forward(dy, *cache)[0],
        "blocks.1.attn.q_proj.W",
    ),
    "no rotation in the backward": ("layers.attention.rope_backward", lambda dy, cache: dy, "blocks.1.attn.k_proj.W"),
    "gate and up exchanged": ("layers.gated_mlp.silu_gate_backward", gate_and_up_exchanged, "blocks.1.mlp.up_proj.W"),
    "normalisation with a dx of dy": (
        "layers.rmsnorm.rmsnorm_backward",
        lambda dy, cache: (dy, rmsnorm_backward(dy, cache)[1]),
        "blocks.1",
    ),
    "a tied head without its gradient": (
        "models.decoder.linear_cross_entropy_backward",
        lambda dloss, cache: (dloss * cache.dx, 0.0 * cache.dW),
        "wte.W",
    ),
    "an embedding without its gradient": (
        (Embedding, "backward"),
        lambda self, dy, cache: self.W.accumulate(0.0 * self.W.data),
        "wte.W",
    ),
}


@pytest.mark.parametrize(("place", "mutant", "parameter"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_model_with_a_wrong_backward_fails_and_the_parameter_is_named(monkeypatch, batch, place, mutant, parameter):
    if isinstance(place, str):
        monkeypatch.setattr(f"minilora.{place}", mutant)
    else:
        monkeypatch.setattr(*place, mutant)
    with pytest.raises(GradientError, match=rf"{parameter}.*: backward says .*, the loss's slope is .*, bound "):
        check_model(tiny_llama("tied"), batch, rng=rng())
