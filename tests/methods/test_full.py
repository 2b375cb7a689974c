"""What full fine-tuning, FT-top-k and BitFit choose; and the parts of a model that every method trains."""

import pytest

from methods.every import tiny_adapted
from methods.tiny import (
    gradients_of,
    logits_of,
    same_bits,
    tiny_gpt,
    tiny_lora,
    trainable_names,
    weights_of,
)
from minilora.methods import (
    TopKConfig,
    apply_bitfit,
    apply_full,
    apply_top_k,
    load_adapter,
    method_of,
    save_adapter,
)
from minilora.models import GPTConfig

BIASES = ["ln_1", *(f"attn.{letter}_proj" for letter in "qkvo"), "ln_2", "mlp.fc_in", "mlp.fc_out"]


def test_bitfit_trains_every_bias_vector_and_nothing_else():
    model = tiny_gpt()
    apply_bitfit(model)
    blocks = [f"blocks.{i}.{name}.bias" for i in (0, 1) for name in BIASES]
    assert trainable_names(model) == [*blocks, "ln_f.bias"]


@pytest.mark.parametrize("k", [1, 2])
def test_top_k_trains_the_last_blocks_without_what_is_around_them(k):
    model = tiny_gpt()
    apply_top_k(model, k)
    last = [f"blocks.{i}." for i in (0, 1)][-k:]
    assert trainable_names(model) == [name for name in weights_of(model) if name.startswith(tuple(last))]


def test_two_blocks_of_gpt2_medium_are_the_papers_25_million():
    """Formula by formula, without the model: 25.19M in table 3, with ln_f or without."""
    c = GPTConfig(vocab_size=50257, n_positions=1024, n_layer=24, d_model=1024, n_head=16)
    C, F = c.d_model, c.d_mlp
    block = 4 * (C * C + C) + (C * F + F) + (F * C + C) + 2 * 2 * C
    assert 2 * block == 25_192_448
    assert round(2 * block / 1e6, 2) == round((2 * block + 2 * C) / 1e6, 2) == 25.19


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "k was 0; it must be an integer of at least 1"),
        (1.0, "k was 1.0; it must be an integer of at least 1"),
        (3, "k was 3; it must be from 1 to 2, the number of blocks"),
    ],
)
def test_a_k_that_cannot_be_is_refused_and_the_model_stays_as_it_was(k, message):
    model = tiny_gpt()
    with pytest.raises(ValueError, match=message):
        apply_top_k(model, k)
    assert trainable_names(model) == list(weights_of(model))


@pytest.mark.parametrize("apply", [apply_full, apply_bitfit, apply_top_k])
def test_they_switch_lora_off(apply):
    model = tiny_lora()
    apply(model)
    assert same_bits(logits_of(model), logits_of(tiny_gpt()))
    assert trainable_names(model) == list(gradients_of(model))
    assert not any(name.endswith((".A", ".B")) for name in trainable_names(model))


# ---- files of methods that change the base's own values


def test_a_file_of_another_k_is_refused_by_name_and_the_model_stays_as_it_was(tmp_path):
    save_adapter(tiny_adapted(TopKConfig(1)), tmp_path / "file")
    deep = GPTConfig(vocab_size=11, n_positions=8, n_layer=3, d_model=6, n_head=2, d_mlp=10)
    model = tiny_gpt(config=deep)
    before = weights_of(model)
    with pytest.raises(ValueError, match=r"file does not fit the model: blocks.1.* is only in one of them"):
        load_adapter(model, tmp_path / "file")
    assert same_bits(weights_of(model), before) and method_of(model) is None
    assert trainable_names(model) == list(before)
