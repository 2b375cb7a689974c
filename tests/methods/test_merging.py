"""Merging: the adapted model at the base's cost. Unmerging: the base as it was, to the bit."""

import numpy as np
import pytest

from methods.tiny import EVERYWHERE, gradients_of, logits_of, same_bits, tiny_gpt, tiny_lora, weights_of
from minilora.methods import LoRAConfig, lora_layers, merge_lora, remove_lora, set_adapter, unmerge_lora
from minilora.models import load_model, save_model
from minilora.ops.fast import LinearCache, LoRALinearCache
from minilora.training import AdamW

CONFIG = LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE)
BOUNDS = [("float32", 1e-5), ("float64", 1e-12)]


def frozen_arrays(model):
    return [layer.base.W.data for layer in lora_layers(model).values()]


def layer_caches(model, ids=((0, 1, 2),)):
    """What each linear layer of the model left behind in a forward pass."""
    _, cache = model.forward(np.array(ids))
    for block in cache.blocks:
        yield from (block.attn.q_proj, block.attn.k_proj, block.attn.v_proj, block.attn.o_proj)
        yield from (block.mlp.fc_in, block.mlp.fc_out)


@pytest.mark.parametrize(("dtype", "bound"), BOUNDS)
def test_merged_the_logits_are_the_same(dtype, bound):
    model = tiny_lora(CONFIG, dtype)
    before = logits_of(model)
    merge_lora(model)
    assert logits_of(model).dtype == dtype
    assert np.abs(logits_of(model) - before).max() <= bound * np.abs(before).max()
    assert np.abs(logits_of(tiny_gpt(dtype)) - before).max() > 0.1


def test_merged_the_forward_is_the_bases():
    model = tiny_lora(CONFIG)
    assert {type(cache.inner) for cache in layer_caches(model)} == {LoRALinearCache}
    merge_lora(model)
    assert {type(cache.inner) for cache in layer_caches(model)} == {LinearCache}


def test_merged_W_is_W_plus_delta_W():
    model = tiny_lora(CONFIG)
    expected = [layer.base.W.data + layer.delta_W() for layer in lora_layers(model).values()]
    merge_lora(model)
    assert all(map(same_bits, frozen_arrays(model), expected))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unmerging_restores_the_very_arrays_to_the_bit(dtype):
    model = tiny_lora(CONFIG, dtype)
    arrays, weights, logits = frozen_arrays(model), weights_of(model), logits_of(model)
    merge_lora(model)
    unmerge_lora(model)
    assert all(now is before for now, before in zip(frozen_arrays(model), arrays, strict=True))
    assert same_bits(weights_of(model), weights)
    assert same_bits(logits_of(model), logits)


def test_merging_twice_is_merging_once():
    once, twice = tiny_lora(CONFIG), tiny_lora(CONFIG)
    merge_lora(once)
    merge_lora(twice)
    merge_lora(twice)
    assert same_bits(weights_of(twice), weights_of(once))
    unmerge_lora(twice)
    assert same_bits(weights_of(twice), weights_of(tiny_lora(CONFIG)))


def test_unmerging_what_is_not_merged_changes_nothing():
    model = tiny_lora(CONFIG)
    unmerge_lora(model)
    assert same_bits(weights_of(model), weights_of(tiny_lora(CONFIG)))


def test_unmerging_a_model_without_adapters_leaves_it_as_it_is():
    model = tiny_gpt()
    unmerge_lora(model)
    assert same_bits(weights_of(model), weights_of(tiny_gpt()))


def test_without_an_active_adapter_there_is_nothing_to_merge():
    with pytest.raises(ValueError, match=r"no adapter is active to be merged; the model's adapters are \[\]"):
        merge_lora(tiny_gpt())
    model = tiny_lora(CONFIG)
    set_adapter(model, None)
    with pytest.raises(ValueError, match=r"no adapter is active to be merged; the model's adapters are \['default'\]"):
        merge_lora(model)
    assert same_bits(logits_of(model), logits_of(tiny_gpt()))
    set_adapter(model, "default")
    assert same_bits(logits_of(model), logits_of(tiny_lora(CONFIG)))


def test_training_a_merged_adapter_is_refused():
    model = tiny_lora(CONFIG)
    merge_lora(model)
    with pytest.raises(ValueError, match=r"a merged adapter cannot be trained: call unmerge_lora\(model\) first"):
        gradients_of(model)


def test_merge_train_and_merge_again_gives_what_was_learned():
    model = tiny_lora(CONFIG)
    merge_lora(model)
    unmerge_lora(model)
    gradients_of(model)
    AdamW(model.parameters(), lr=0.1).step()
    learned = logits_of(model)
    merge_lora(model)
    assert np.allclose(logits_of(model), learned, rtol=0, atol=1e-12)


# ---- for good


def test_removing_an_adapter_leaves_the_base_to_the_bit_under_its_own_names():
    model = tiny_lora(CONFIG)
    remove_lora(model)
    assert same_bits(weights_of(model), weights_of(tiny_gpt()))
    assert [p.name for p in model.parameters()] == list(weights_of(model))
    assert not lora_layers(model)


def test_what_is_merged_when_it_is_removed_stays_merged():
    model = tiny_lora(CONFIG)
    learned = logits_of(model)
    merge_lora(model)
    remove_lora(model)
    assert weights_of(model).keys() == weights_of(tiny_gpt()).keys()
    assert np.allclose(logits_of(model), learned, rtol=0, atol=1e-12)


def test_a_merged_model_goes_to_a_file_as_a_plain_one(tmp_path):
    model = tiny_lora(CONFIG, "float32")
    merge_lora(model)
    merged = logits_of(model)
    remove_lora(model)
    save_model(model, tmp_path / "merged.safetensors")
    assert same_bits(logits_of(load_model(tmp_path / "merged.safetensors")), merged)


def test_a_model_that_still_has_adapters_is_not_saved_as_a_plain_one(tmp_path):
    """The names in such a file would be those of LoRALinear, which `load_model` does not know."""
    with pytest.raises(ValueError, match="remove_lora"):
        save_model(tiny_lora(CONFIG), tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
