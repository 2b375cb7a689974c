"""Prompt tuning is PreEmbed with all of its tokens before the prompt, under its own name; its start can be a text."""

import numpy as np
import pytest

from methods.tiny import CONFIG, rng, same_bits, some_batch, tiny_gpt, trainable_names, weights_of
from minilora.gradcheck import GradientError, check_model
from minilora.methods import (
    PrefixConfig,
    PromptTuningConfig,
    adapter_names,
    apply_method,
    apply_prompt_tuning,
    prefix_tokens,
    remove_adapter,
)
from minilora.models import RobertaForMaskedLM
from minilora.ops.fast import prefix_backward
from minilora.training import loss_and_backward
from models.tiny_encoders import tiny
from models.tiny_llama import tiny_llama

SHORT = some_batch(T=4)


@pytest.mark.parametrize("make", [tiny_gpt, tiny_llama])
def test_it_is_the_prefix_with_all_its_tokens_in_front_to_the_bit(make):
    models = [make(), make()]
    for model, config in zip(models, (PromptTuningConfig(3), PrefixConfig("embedding", 3, 0)), strict=True):
        apply_method(model, config, rng=rng(5))
    losses = [loss_and_backward(model, SHORT) for model in models]
    assert losses[0] == losses[1] and trainable_names(models[0]) == trainable_names(models[1])
    assert same_bits(*(model.trainable_parameters()[0].grad for model in models))


@pytest.mark.parametrize("make", [tiny_gpt, tiny_llama])
def test_a_text_in_front_that_is_learned_as_it_stands_is_that_text(make):
    """P = E[text] gives what the text itself would give, in front of every input."""
    model, base, text = make(), make(), (5, 2, 7)
    apply_prompt_tuning(model, PromptTuningConfig(3, text), rng=rng())
    read = np.stack([model.read_prompt(row) for row in SHORT.ids])
    whole = np.concatenate([np.broadcast_to(text, (len(SHORT.ids), 3)), SHORT.ids], axis=1)
    assert np.allclose(model.forward(read)[0], base.forward(whole)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("start", "found"), [((5, 2), (5, 2, 5, 2)), ((1, 2, 3, 4, 5), (1, 2, 3, 4)), ((8,), (8,) * 4)]
)
def test_a_text_is_repeated_or_cut(start, found):
    model = tiny_gpt()
    apply_prompt_tuning(model, PromptTuningConfig(4, start), rng=rng())
    assert same_bits(model.prefix.tables[0].W.data, model.wte.W.data[list(found)])


def test_without_a_text_tokens_are_drawn():
    model, other = tiny_gpt(), tiny_gpt()
    apply_prompt_tuning(model, PromptTuningConfig(3), rng=rng(1))
    apply_prompt_tuning(other, PromptTuningConfig(3), rng=rng(2))
    P = model.prefix.tables[0].W.data
    assert all((row == model.wte.W.data).all(axis=1).any() for row in P)
    assert not same_bits(P, other.prefix.tables[0].W.data)
    remove_adapter(model, "prompt-tuning")
    assert same_bits(weights_of(model), weights_of(tiny_gpt()))


def test_the_gradient_of_a_part_of_the_batch_is_noticed(monkeypatch):
    model = tiny_gpt()
    apply_prompt_tuning(model, PromptTuningConfig(3), rng=rng(1))
    check_model(model, SHORT, rng=rng(4))

    def of_the_first_row(dy, cache):
        return prefix_backward(dy, cache)[0], prefix_backward(dy[:1], cache._replace(slots=cache.slots[:1]))[1]

    monkeypatch.setattr(prefix_tokens, "prefix_backward", of_the_first_row)
    with pytest.raises(GradientError):
        check_model(model, SHORT, rng=rng(4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 0}, "length was 0; it must be an integer of at least 1"),
        ({"length": CONFIG.n_positions}, r"before \+ after was 8; it must be from 1 to 7"),
        ({"start": ()}, r"start was \(\); it must be the ids of a text, or None"),
        ({"start": "Sum"}, "start was 'Sum'; it must be the ids of a text, or None"),
        ({"start": (CONFIG.vocab_size,)}, "start had 11; each id must be from 0 to 10"),
    ],
)
def test_what_cannot_be_is_refused_and_the_model_stays_as_it_was(settings, message):
    model = tiny_gpt()
    with pytest.raises(ValueError, match=message):
        apply_prompt_tuning(model, PromptTuningConfig(**{"length": 3} | settings), rng=rng())
    assert adapter_names(model) == [] and same_bits(weights_of(model), weights_of(tiny_gpt()))


def test_an_encoder_is_refused():
    with pytest.raises(ValueError, match="model was a RobertaForMaskedLM; prompt tuning needs a decoder, a GPT"):
        apply_prompt_tuning(tiny(RobertaForMaskedLM), PromptTuningConfig(2), rng=rng())
