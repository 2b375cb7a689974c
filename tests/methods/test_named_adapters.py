"""Several adapters on one base: each by its name, at most one active, and the base untouched."""

import numpy as np
import pytest

from methods.tiny import (
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
    with_B,
)
from minilora.methods import (
    LoRAConfig,
    adapter_names,
    apply_full,
    apply_lora,
    lora_layers,
    merge_lora,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.training import AdamW

OTHER = LoRAConfig(rank=3, alpha=4, targets=("v_proj", "fc_out"))


@pytest.fixture
def model():
    """An adapter "default" on q_proj, v_proj and fc_in, and "other", which is active, on v_proj and fc_out."""
    model = tiny_lora(SMALL_LORA)
    apply_lora(model, OTHER, rng=rng(8), name="other")
    return with_B(model, seed=9)


def logits_with(model, name):
    set_adapter(model, name)
    return logits_of(model)


def test_they_are_listed_in_the_order_in_which_they_came(model):
    assert adapter_names(model) == ["default", "other"]
    assert adapter_names(tiny_gpt()) == []


def test_the_last_one_added_is_active_and_its_parameters_are_the_trainable_ones(model):
    paths = [f"blocks.{i}.{name}" for i in (0, 1) for name in ("attn.v_proj", "mlp.fc_out")]
    assert trainable_names(model) == [f"{path}.{letter}" for path in paths for letter in "AB"]


def test_each_gives_what_it_gives_alone(model):
    alone = tiny_gpt()
    apply_lora(alone, OTHER, rng=rng(8))
    with_B(alone, seed=9)
    assert same_bits(logits_with(model, "other"), logits_of(alone))
    assert same_bits(logits_with(model, "default"), logits_of(tiny_lora(SMALL_LORA)))


def test_none_is_the_base_to_the_bit(model):
    assert same_bits(logits_with(model, None), logits_of(tiny_gpt()))
    assert trainable_names(model) == []


def test_to_and_fro_gives_the_same_bits(model):
    first = logits_with(model, "default")
    assert not np.isclose(first, logits_with(model, "other")).any()
    assert same_bits(logits_with(model, "default"), first)


@pytest.mark.parametrize("name", ["default", "other", None])
def test_switching_does_not_touch_the_bases_arrays(model, name):
    base = {path: layer.base.W.data for path, layer in lora_layers(model).items()}
    bits = {path: W.copy() for path, W in base.items()}
    set_adapter(model, name)
    if name is not None:
        merge_lora(model)
        unmerge_lora(model)
    assert all(layer.base.W.data is base[path] for path, layer in lora_layers(model).items())
    assert same_bits(base, bits)


def test_parameters_are_named_for_the_active_one(model):
    set_adapter(model, "default")
    names = [name for name, _ in model.named_parameters()]
    assert "blocks.0.attn.q_proj.A" in names and "blocks.0.mlp.fc_out.A" not in names
    assert [p.name for p in model.parameters()] == names


def test_training_one_leaves_the_other_as_it_was(model):
    before = logits_with(model, "default")
    set_adapter(model, "other")
    gradients_of(model)
    AdamW(model.parameters(), lr=0.1).step()
    assert same_bits(logits_with(model, "default"), before)


def test_adding_one_leaves_the_other_as_it_was():
    model = tiny_lora(SMALL_LORA)
    before = weights_of(model)
    apply_lora(model, OTHER, rng=rng(8), name="other")
    set_adapter(model, "default")
    after = weights_of(model)
    assert same_bits({name.replace(".fc_out.base", ".fc_out"): w for name, w in after.items()}, before)


@pytest.mark.parametrize("active", ["default", None])
def test_only_the_adapter_that_is_switched_to_is_trained_whatever_came_before(active):
    model = tiny_lora(SMALL_LORA)
    first = model.trainable_parameters()
    set_adapter(model, active)
    apply_lora(model, OTHER, rng=rng(8), name="other")
    assert not any(p.trainable for p in first)
    set_adapter(model, "default")
    assert list(map(id, model.trainable_parameters())) == list(map(id, first))


# ---- errors


def test_a_name_that_is_taken_is_refused_and_the_model_stays_as_it_was(model):
    before = weights_of(model)
    with pytest.raises(ValueError, match="name was 'default'; the model already has an adapter of this name"):
        apply_lora(model, LoRAConfig(rank=1, targets=("k_proj",)), rng=rng(), name="default")
    assert same_bits(weights_of(model), before)


@pytest.mark.parametrize("name", ["", None, 3])
def test_what_is_no_name_is_refused_and_the_model_stays_as_it_was(name):
    model = tiny_gpt()
    before = weights_of(model)
    with pytest.raises(ValueError, match=f"name was {name!r}; it must be text of at least one character"):
        apply_lora(model, SMALL_LORA, rng=rng(), name=name)
    assert same_bits(weights_of(model), before) and not lora_layers(model)


def test_an_unknown_name_is_refused_with_the_possible_ones(model):
    with pytest.raises(ValueError, match=r"name was 'third'; the model's adapters are \['default', 'other'\]"):
        set_adapter(model, "third")
    with pytest.raises(ValueError, match=r"name was 'default'; the model's adapters are \[\]"):
        set_adapter(tiny_gpt(), "default")


def test_saving_an_unknown_one_is_refused_with_the_possible_ones(model, tmp_path):
    with pytest.raises(ValueError, match=r"name was 'third'; the model's adapters are \['default', 'other'\]"):
        save_adapter(model, tmp_path / "third.safetensors", name="third")
    set_adapter(model, None)
    with pytest.raises(ValueError, match=r"name was None; the model's adapters are \['default', 'other'\]"):
        save_adapter(model, tmp_path / "active.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        lambda model: set_adapter(model, "default"),
        lambda model: set_adapter(model, None),
        lambda model: apply_lora(model, SMALL_LORA, rng=rng(), name="third"),
    ],
    ids=["to another", "to the base", "a new one"],
)
def test_while_one_is_merged_no_other_may_become_active(model, change):
    merge_lora(model)
    before = logits_of(model)
    with pytest.raises(ValueError, match=r"an adapter is merged into the model; call unmerge_lora\(model\) first"):
        change(model)
    assert same_bits(logits_of(model), before)


def test_switching_an_adapter_on_after_full_fine_tuning_freezes_the_rest():
    model = tiny_lora(SMALL_LORA)
    names = trainable_names(model)
    apply_full(model)
    set_adapter(model, "default")
    assert trainable_names(model) == names
    assert set(gradients_of(model)) == set(names)


@pytest.mark.parametrize("other", ["twin", None])  # the same layers adapted, or none
def test_a_cache_of_another_adapter_is_refused(other):
    model = tiny_lora(SMALL_LORA)
    apply_lora(model, SMALL_LORA, rng=rng(8), name="twin")
    set_adapter(model, "default")
    logits, cache = model.forward(some_batch().ids)
    set_adapter(model, other)
    model.blocks[0].ln_1.gain.trainable = True  # so that a backward has somewhere to go without an adapter
    with pytest.raises(ValueError, match="cache was made by another adapter"):
        model.backward(np.ones_like(logits), cache)


@pytest.mark.parametrize("alpha", [np.float64(3), 3, 3.0])
def test_float32_stays_float32_whatever_number_alpha_is(alpha):
    model = tiny_lora(LoRAConfig(rank=2, alpha=alpha), "float32")
    assert {str(grad.dtype) for grad in gradients_of(model).values()} == {"float32"}
    merge_lora(model)
    assert logits_of(model).dtype == np.float32
