"""The gradients of an adapted model against the slope of its loss, with dropout too; and mutants that must fail."""

import numpy as np
import pytest

from methods.tiny import EVERYWHERE, logits_of, rng, same_bits, some_batch, tiny_gpt, tiny_lora
from minilora.gradcheck import GradientError, check_model
from minilora.methods import LoRAConfig, adapter_dropout, lora_layers
from minilora.methods.lora import layer as layer_module
from minilora.ops.fast import dropout_mask, lora_linear_backward

WITH_DROPOUT = LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dropout=0.4)
CONFIGS = {
    "two targets": LoRAConfig(rank=2, alpha=3),
    "every target": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE),
    "the MLP alone": LoRAConfig(rank=3, alpha=4, targets=("fc_in", "fc_out"), rslora=True),
    "patterns": LoRAConfig(rank=1, targets=EVERYWHERE, rank_pattern={"v_proj": 4}, alpha_pattern={"1.mlp.fc_in": 2}),
    "the last block alone": LoRAConfig(rank=2, alpha=3, targets=("blocks.1.attn.o_proj",)),
    "dropout": WITH_DROPOUT,
}


class TheSameDropout:
    """A model that drops the same entries at every call, so that its loss is a function of its parameters."""

    def __init__(self, model):
        self.model = model

    def loss(self, batch):
        with adapter_dropout(self.model, rng(7)):
            return self.model.loss(batch)

    def __getattr__(self, name):
        return getattr(self.model, name)


def check(config):
    batch = some_batch()
    return check_model(TheSameDropout(tiny_lora(config)), batch, rng=rng(4))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_every_A_and_B_passes_at_a_generic_point(config):
    slopes = check(config)
    assert all(name.endswith((".A", ".B")) for name in slopes)
    assert min(abs(analytic) for analytic, _ in slopes.values()) > 1e-6


# ---- mutants


def without_dh_A(dy, cache):
    _, dA, dB = lora_linear_backward(dy, cache)
    return dy @ cache.W, dA, dB


def dA_without_scale(dy, cache):
    dx, dA, dB = lora_linear_backward(dy, cache)
    return dx, dA / cache.scale, dB


def dB_without_scale(dy, cache):
    dx, dA, dB = lora_linear_backward(dy, cache)
    return dx, dA, dB / cache.scale


def dx_without_the_mask(dy, cache):
    _, dA, dB = lora_linear_backward(dy, cache)
    return dy @ cache.W + cache.scale * (dy @ cache.B) @ cache.A, dA, dB


def base_masked_too(dy, cache):
    dx, dA, dB = lora_linear_backward(dy, cache)
    return dx * cache.dropout_mask, dA, dB


@pytest.mark.parametrize(
    ("mutant", "wrong"),
    [
        (without_dh_A, "blocks.0.attn.q_proj.B"),
        (dA_without_scale, "blocks.1.attn.q_proj.A"),
        (dB_without_scale, "blocks.1.attn.q_proj.B"),
        (dx_without_the_mask, "blocks.0.attn.q_proj.B"),
        (base_masked_too, "blocks.0.attn.q_proj.B"),
    ],
)
def test_a_wrong_backward_fails_and_what_it_spoils_is_named(monkeypatch, mutant, wrong):
    monkeypatch.setattr(layer_module, "lora_linear_backward", mutant)
    with pytest.raises(GradientError, match=f"{wrong}: backward says"):
        check(WITH_DROPOUT)


# ---- dropout


def test_dropouts_backward_masks_loras_part_of_dx_alone():
    layer = tiny_lora(WITH_DROPOUT).blocks[0].mlp.fc_in
    x, dy = rng(5).standard_normal((3, 4, 6)), rng(6).standard_normal((3, 4, 10))
    with adapter_dropout(layer, rng(7)):
        _, cache = layer.forward(x)
    mask = dropout_mask(x, 0.4, rng(7))
    assert 0 < (mask == 0).sum() < mask.size
    lora_part = (layer.scale * dy @ layer.B.data) @ layer.A.data * mask
    assert np.allclose(layer.backward(dy, cache), dy @ layer.base.W.data + lora_part, rtol=0, atol=1e-12)


def test_without_an_rng_nothing_is_dropped():
    without = LoRAConfig(**(vars(WITH_DROPOUT) | {"dropout": 0.0}))
    assert same_bits(logits_of(tiny_lora(WITH_DROPOUT)), logits_of(tiny_lora(without)))


def test_each_rng_drops_something_else_and_the_same_rng_the_same():
    model, ids = tiny_lora(WITH_DROPOUT), some_batch().ids

    def forward(seed):
        with adapter_dropout(model, rng(seed)):
            return model.forward(ids)[0]

    first, again, other = (forward(seed) for seed in (1, 1, 2))
    assert same_bits(first, again)
    assert not np.isclose(first, other).any()


def test_a_base_model_has_no_dropout():
    model, ids = tiny_gpt(), some_batch().ids
    with adapter_dropout(model, rng(1)):
        assert same_bits(model.forward(ids)[0], tiny_gpt().forward(ids)[0])


def test_after_the_context_nothing_is_dropped_also_where_it_ended_in_an_error():
    model, ids = tiny_lora(WITH_DROPOUT), some_batch().ids
    before = model.forward(ids)[0]
    with pytest.raises(KeyError), adapter_dropout(model, rng(1)):
        raise KeyError
    assert same_bits(model.forward(ids)[0], before)


def test_a_replica_draws_for_itself():
    """As the threads of a batch need it: each replica has its own generator, and no replica's is another's."""
    model, ids = tiny_lora(WITH_DROPOUT), some_batch().ids
    twin = model.replica()
    with adapter_dropout(model, rng(1)), adapter_dropout(twin, rng(2)):
        one, two = model.forward(ids)[0], twin.forward(ids)[0]
    with adapter_dropout(model, rng(2)):
        assert same_bits(model.forward(ids)[0], two) and not np.isclose(one, two).any()


def test_a_bias_of_the_base_that_is_trainable_is_trained():
    model = tiny_lora()
    layer = next(iter(lora_layers(model).values()))
    layer.base.bias.trainable = True
    batch = some_batch()
    check_model(model, batch, rng=rng())
    assert layer.base.bias.grad is not None
