"""Trainable tokens: the base at the start; both uses of a tied embedding; and nothing else is touched."""

import numpy as np
import pytest

from methods.tiny import CONFIG, rng, same_bits, some_batch, tiny_gpt, trainable_names, weights_of
from minilora.gradcheck import GradientError, check_model
from minilora.methods import (
    LoRAConfig,
    TrainableTokensConfig,
    adapter_names,
    apply_bitfit,
    apply_lora,
    apply_trainable_tokens,
    merge_tokens,
    remove_adapter,
    set_adapter,
    trainable_tokens,
)
from minilora.models import GPT, Llama, RobertaForClassification, RobertaForMaskedLM
from minilora.ops.fast import linear_rows_backward, prefix_backward
from models.tiny_encoders import BATCHES, IDS, MASK, tiny
from models.tiny_llama import tiny_llama

SHORT = some_batch()
TOKENS = TrainableTokensConfig((int(SHORT.ids[0, 1]), int(SHORT.targets[0, 2]), 9))
MODELS = {"gpt": tiny_gpt, "tied llama": lambda: tiny_llama("tied"), "llama": tiny_llama}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def adapted(make=tiny_gpt, config=TOKENS):
    model = make()
    apply_trainable_tokens(model, config)
    model.wte.P.data += 0.5 * rng(2).standard_normal(model.wte.P.shape)
    return model


def logits(model):
    return model.forward(SHORT.ids)[0]


@each_model
def test_it_starts_as_the_base_and_is_the_base_again_without(make):
    model, base = make(), make()
    apply_trainable_tokens(model, TOKENS)
    assert np.allclose(logits(model), logits(base), rtol=0, atol=1e-14) and trainable_names(model) == ["wte.P"]
    if make is tiny_llama:  # its head is not tied
        assert same_bits(logits(model), logits(base))
    model.wte.P.data += 1.0
    assert not np.allclose(logits(model), logits(base))
    remove_adapter(model, "trainable-tokens")
    assert type(model) is type(base) and same_bits(weights_of(model), weights_of(base))
    assert same_bits(logits(model), logits(base))


@each_model
def test_it_is_the_model_whose_embedding_has_these_rows(make):
    """Both uses of it, where they are tied; in an untied Llama the lookup alone."""
    model, by_hand = adapted(make), make()
    by_hand.wte.W.data[list(TOKENS.tokens)] = model.wte.P.data
    assert np.allclose(logits(model), logits(by_hand), rtol=0, atol=1e-12)
    assert np.allclose(model.loss(SHORT)[0], by_hand.loss(SHORT)[0], rtol=0, atol=1e-12)


@each_model
def test_merged_it_is_a_plain_model_that_says_the_same(make):
    model = adapted(make)
    expected = logits(model)
    merge_tokens(model)
    assert type(model) is type(make()) and adapter_names(model) == []
    assert np.allclose(logits(model), expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="the model's active adapter trains no tokens; there is nothing to merge"):
        merge_tokens(model)


@each_model
def test_dP_is_these_rows_of_the_whole_embeddings_gradient(make):
    model, by_hand = adapted(make), make()
    by_hand.wte.W.data[list(TOKENS.tokens)] = model.wte.P.data
    for p in by_hand.parameters():
        p.trainable = p is by_hand.wte.W
    for which in (model, by_hand):
        which.backward_loss(1.0, which.loss(SHORT)[1])
    assert np.allclose(model.wte.P.grad, by_hand.wte.W.grad[list(TOKENS.tokens)], rtol=0, atol=1e-13)
    check_model(model, SHORT, rng=rng(4))


HEAD_ALONE = ("prefix_backward", lambda dy, c: (dy, 0 * prefix_backward(dy, c)[1]))
LOOKUP_ALONE = ("linear_rows_backward", lambda dy, c: (linear_rows_backward(dy, c)[0], 0 * c.P))


def that_overwrites(dy, c):
    dP = np.zeros_like(c.P)
    dP[c.slots[c.slots >= 0]] += dy[c.slots >= 0]
    return dy, dP


MUTANTS = {
    "the tied head's part is forgotten": LOOKUP_ALONE,
    "the lookup's part is forgotten": HEAD_ALONE,
    "a token that comes twice counts once": ("prefix_backward", that_overwrites),
}


@pytest.mark.parametrize(("name", "mutant"), MUTANTS.values(), ids=MUTANTS)
@pytest.mark.parametrize("make", [tiny_gpt, MODELS["tied llama"]], ids=["gpt", "tied llama"])
def test_a_wrong_backward_fails(monkeypatch, make, name, mutant):
    twice = TrainableTokensConfig(tuple(int(i) for i in np.unique(SHORT.ids)[:8]))
    model = adapted(make, twice)
    monkeypatch.setattr(trainable_tokens, name, mutant)
    with pytest.raises(GradientError, match=r"wte\.P"):
        check_model(model, SHORT, rng=rng(4))


def test_a_classifier_has_its_own_head_beside():
    model = tiny(RobertaForClassification)
    apply_trainable_tokens(model, TrainableTokensConfig((3, 5)))
    assert trainable_names(model)[0] == "encoder.wte.P" and len(trainable_names(model)) == 5
    check_model(model, BATCHES[RobertaForClassification][0], rng=rng(4))
    assert same_bits(model.forward(IDS, MASK)[0], tiny(RobertaForClassification).forward(IDS, MASK)[0])


def test_merged_a_classifier_keeps_its_trained_head():
    model = tiny(RobertaForClassification)
    apply_trainable_tokens(model, TrainableTokensConfig((3, 5)))
    for p in model.trainable_parameters():
        p.data += 0.5 * rng(2).standard_normal(p.shape)
    expected = model.forward(IDS, MASK)[0]
    merge_tokens(model)
    assert adapter_names(model) == [] and np.allclose(model.forward(IDS, MASK)[0], expected, rtol=0, atol=1e-12)


def test_it_is_switched_with_other_adapters():
    model = adapted()
    with_tokens = logits(model)
    apply_bitfit(model)
    set_adapter(model, "trainable-tokens")
    assert same_bits(logits(model), with_tokens) and type(model) is not GPT
    set_adapter(model, "bitfit")
    assert type(model) is GPT
    assert type(adapted(MODELS["llama"])) is Llama


def test_an_embedding_has_one_of_the_two_adapters():
    model = adapted()
    with pytest.raises(ValueError, match="targets named wte, which the adapter 'trainable-tokens' replaces"):
        apply_lora(model, LoRAConfig(rank=2, targets=("wte",)), rng=rng())
    assert adapter_names(model) == ["trainable-tokens"]
    model = tiny_gpt()
    apply_lora(model, LoRAConfig(rank=2, targets=("wte",)), rng=rng())
    with pytest.raises(ValueError, match="wte has a LoRA; an embedding of which tokens are trained must have no other"):
        apply_trainable_tokens(model, TOKENS)
    assert adapter_names(model) == ["default"]


@pytest.mark.parametrize("tokens", [(), 3, "3", (1, 1), (-1,), (1.0,), (True,)], ids=str)
def test_tokens_that_are_none_are_refused(tokens):
    with pytest.raises(ValueError, match="tokens was .*; it must be several ids from 0 upwards, each once"):
        TrainableTokensConfig(tokens)


def test_a_token_that_the_model_lacks_is_refused_and_a_masked_models_tied_head():
    model = tiny_gpt()
    with pytest.raises(ValueError, match=f"tokens had {CONFIG.vocab_size}; each must be from 0 to"):
        apply_trainable_tokens(model, TrainableTokensConfig((CONFIG.vocab_size,)))
    assert adapter_names(model) == [] and same_bits(weights_of(model), weights_of(tiny_gpt()))
    with pytest.raises(ValueError, match="model was a RobertaForMaskedLM, whose head is tied; it must be a GPT or"):
        apply_trainable_tokens(tiny(RobertaForMaskedLM), TrainableTokensConfig((3,)))
