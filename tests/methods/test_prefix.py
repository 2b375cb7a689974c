"""Prefix tuning in a decoder: with the key-value cache, with padding, and where there is no room."""

import numpy as np
import pytest

from methods.every import EVERY, tiny_adapted
from methods.prefix_mutants import MUTANTS
from methods.tiny import CONFIG, gradients_of, rng, same_bits, some_batch, tiny_gpt, trainable_names
from minilora.data.batches import LMBatch
from minilora.gradcheck import GradientError, check_model
from minilora.methods import PrefixConfig, apply_method, apply_prefix, set_adapter
from minilora.methods import prefix_tokens as layer_module
from minilora.methods.prefixed import PrefixedGPT
from minilora.models import GPT, save_model
from minilora.models.generation import generate

KINDS = [config for name, config in EVERY.items() if name.startswith("prefix")]
each_kind = pytest.mark.parametrize("config", KINDS, ids=str)
SHORT = some_batch(T=4)
PROMPTS = [[3], [1, 4, 1], [2, 6]]


def forward_with_prefix(model, prompt):
    return model.forward(model.read_prompt(np.array(prompt))[None])


# ---- the mathematics


def test_an_embedding_prefix_of_known_words_is_a_prompt_of_these_words():
    model = tiny_gpt()
    apply_prefix(model, PrefixConfig("embedding", before=2, after=1), rng=rng())
    model.prefix.tables[0].W.data[...] = model.wte.W.data[[7, 3, 5]]
    expected = tiny_gpt().forward(np.array([[7, 3, 1, 4, 5]]))[0]
    assert np.allclose(forward_with_prefix(model, [1, 4])[0], expected, rtol=0, atol=1e-12)


def test_a_layer_prefix_starts_with_what_random_words_have_there():
    """At positions 0, 1, ... the model computes the same by itself."""
    model = tiny_gpt()
    apply_prefix(model, PrefixConfig("layer", before=3, after=0), rng=rng(5))
    words = rng(5).integers(0, CONFIG.vocab_size, 3)
    expected = tiny_gpt().forward(np.concatenate((words, [1, 4]))[None])[0]
    assert np.allclose(forward_with_prefix(model, [1, 4])[0], expected, rtol=0, atol=1e-12)


def test_a_layer_prefix_forgets_what_the_layers_below_made_of_it():
    """P_1 stands where block 0's output was, so P_0 reaches later tokens through block 0 alone."""
    model = tiny_adapted(EVERY["prefix-layer"])
    _, cache = forward_with_prefix(model, [1, 4])
    last = model.prefix.tables[1].W.data
    entered = cache.blocks[1].ln_1.xhat / cache.blocks[1].ln_1.inv_std  # centred
    assert np.allclose(entered[0, 0], last[0] - last[0].mean(), rtol=0, atol=1e-12)


@each_kind
def test_the_loss_is_that_of_the_tokens_alone_each_seeing_the_prefix(config):
    """Row by row, with logits of forward: padding and a batch of rows with other prompts change nothing."""
    model = tiny_adapted(config)
    n_before, n_after = config.before, config.after
    losses = []
    for ids, targets, mask in zip(*SHORT[:3], strict=True):
        end = int(mask.argmax())
        before, after = 11 + np.arange(n_before), 11 + n_before + np.arange(n_after)
        whole = np.concatenate((before, ids[: end + 1], after, ids[end + 1 :]))
        logits, _ = model.forward(whole[None])
        for t in np.flatnonzero(mask):
            z = logits[0, n_before + n_after + t]
            losses.append(np.log(np.exp(z).sum()) - z[targets[t]])
    assert float(model.loss(SHORT)[0]) == pytest.approx(np.mean(losses), rel=1e-12)


@each_kind
def test_what_pads_a_row_does_not_count(config):
    model = tiny_adapted(config)
    changed = SHORT.ids.copy()
    mask = np.array([[True, True, False, False]] * 3)
    changed[:, 2:] = (changed[:, 2:] + 1) % CONFIG.vocab_size
    losses = [float(model.loss(LMBatch(ids, SHORT.targets, mask))[0]) for ids in (SHORT.ids, changed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)


# ---- mutants


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_a_wrong_backward_fails(monkeypatch, mutant):
    model = tiny_adapted(EVERY["prefix-layer"])
    monkeypatch.setattr(layer_module, "prefix_backward", mutant)
    with pytest.raises(GradientError, match="prefix.tables"):
        check_model(model, SHORT, rng=rng(4))


def test_everything_below_and_beside_a_prefix_has_its_gradient_too():
    """wte gets nothing from the places of the prefix, wpe does, and a frozen prefix lets the gradient through."""
    for train_prefix in (True, False):
        model = tiny_adapted(EVERY["prefix-layer"])
        for name, p in model.named_parameters():
            p.trainable = train_prefix or not name.startswith("prefix")
        check_model(model, SHORT, rng=rng(4))


# ---- generation


@each_kind
@pytest.mark.parametrize("prompts", [[[3]], [[1, 4, 1]], PROMPTS, PROMPTS[::-1]], ids=str)
def test_generation_with_its_cache_is_the_argmax_of_a_full_forward(config, prompts):
    model = tiny_adapted(config)
    found = generate(model, prompts, max_tokens=9)
    for prompt, answer in zip(prompts, found, strict=True):
        around = model.read_prompt(np.array(prompt)).tolist()
        tokens = list(around)
        while len(tokens) < CONFIG.n_positions:
            tokens.append(int(model.forward(np.array([tokens]))[0][0, -1].argmax()))
        assert answer == tokens[len(around) :] and len(answer) == model.longest_input - len(prompt)


# ---- what is refused


@each_kind
def test_a_sequence_without_room_for_the_prefix_is_refused(config):
    model = tiny_adapted(config)
    n = config.before + config.after
    assert model.longest_input == CONFIG.n_positions - n
    too_long = LMBatch(*(np.ones((1, CONFIG.n_positions - n + 1), kind) for kind in (int, int, bool)))
    message = rf"ids made a sequence of 9 tokens, {n} of them the prefix's; n_positions is 8"
    with pytest.raises(ValueError, match=message):
        model.loss(too_long)
    with pytest.raises(ValueError, match=f"a prompt had shape .*; it must have 1 to {8 - n - 1} tokens"):
        generate(model, [[1] * (8 - n)], max_tokens=1)


def test_with_the_prefix_switched_off_the_model_is_a_plain_gpt_again():
    model = tiny_adapted(EVERY["prefix-layer"])
    assert type(model) is PrefixedGPT and model.prefix.length
    set_adapter(model, None)
    assert type(model) is GPT and not hasattr(model, "prefix")
    assert same_bits(model.forward(SHORT.ids)[0], tiny_gpt().forward(SHORT.ids)[0])
    set_adapter(model, "prefix")
    assert type(model) is PrefixedGPT and type(model.replica()) is PrefixedGPT


def test_lora_can_be_added_while_a_prefix_is_active():
    model = tiny_adapted(EVERY["prefix-layer"])
    says = float(model.loss(SHORT)[0])
    apply_method(model, EVERY["lora"], rng=rng(5))
    assert type(model) is GPT and not hasattr(model, "prefix")
    set_adapter(model, "prefix")
    assert float(model.loss(SHORT)[0]) == says


def test_ids_without_the_prefix_are_refused():
    model = tiny_adapted(EVERY["prefix-embedding"])
    with pytest.raises(ValueError, match="ids began without the model's prefix; model.read_batch or read_prompt"):
        model.forward(SHORT.ids)


def test_a_prompt_may_not_hold_ids_of_the_prefix():
    with pytest.raises(ValueError, match="a prompt ran from id 1 to 11; each must be from 0 to 10"):
        generate(tiny_adapted(EVERY["prefix-embedding"]), [[1, 11]], max_tokens=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "deep"}, "kind was 'deep'; it must be one of 'embedding', 'layer'"),
        ({"before": -1}, "before was -1; it must be an integer of at least 0"),
        ({"after": 1.5}, "after was 1.5; it must be an integer of at least 0"),
        ({"before": 0, "after": 0}, "before and after were 0; at least one of them must be above 0"),
        ({"before": 8, "after": 0}, r"before \+ after was 8; it must be from 1 to 7, because n_positions is 8"),
    ],
)
def test_a_prefix_that_cannot_be_is_refused_and_the_model_stays_as_it_was(settings, message):
    model = tiny_gpt()
    with pytest.raises(ValueError, match=message):
        apply_prefix(model, PrefixConfig(**settings), rng=rng())
    assert type(model) is GPT and trainable_names(model) == [name for name, _ in model.named_parameters()]


def test_a_second_prefix_and_a_part_of_a_model_are_refused():
    model = tiny_adapted(EVERY["prefix-layer"])
    with pytest.raises(ValueError, match="name was 'prefix'; the model already has an adapter of this name"):
        apply_method(model, PrefixConfig(before=1, after=0))
    with pytest.raises(ValueError, match="model was a Block; prefix tuning needs a GPT, a Llama, or a RoBERTa"):
        apply_prefix(model.blocks[0], PrefixConfig(), rng=rng())


def test_a_model_with_a_prefix_is_not_saved_as_a_plain_one(tmp_path):
    with pytest.raises(ValueError, match="the model holds prefix.tables.0.W, which a plain .* by save_adapter"):
        save_model(tiny_adapted(EVERY["prefix-layer"]), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_prefix_is_what_it_was():
    assert same_bits(gradients_of(tiny_gpt(), SHORT), gradients_of(tiny_gpt(), SHORT))
    assert tiny_gpt().longest_input == CONFIG.n_positions
