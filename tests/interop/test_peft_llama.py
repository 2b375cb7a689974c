"""PEFT's adapters of Llama, Qwen2 and Mistral, in and out: tests/golden/make_peft.py; test_peft_matrix.py asks peft."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from interop.folders import GOLDEN, Folder
from minilora.interop import load_llama, load_peft, save_peft
from minilora.methods import LoRAConfig, apply_lora, set_adapter
from minilora.models import Llama, LlamaConfig

ADAPTERS = {
    "llama": ("default", "all_linear", "head", "dora", "biases"),
    "qwen2": ("all_linear", "regex"),
    "mistral": ("patterns",),
}
EVERY = [(kind, name) for kind, names in ADAPTERS.items() for name in names]
PROJECTIONS = {
    **{f"attn.{letter}_proj": f"self_attn.{letter}_proj" for letter in "qkvo"},
    **{f"mlp.{name}_proj": f"mlp.{name}_proj" for name in ("gate", "up", "down")},
}


def base(kind):
    return load_llama(GOLDEN / "peft" / kind, dtype="float64")


def expected(kind):
    return load_file(GOLDEN / "peft" / kind / "expected.safetensors")


def logits(kind, model):
    return model.forward(expected(kind)["ids"])[0]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_logits_are_those_of_peft_and_with_the_adapter_off_those_of_the_base(kind, name):
    model = base(kind)
    before = logits(kind, model)
    assert np.abs(before - expected(kind)["base"]).max() < 1e-10
    load_peft(model, GOLDEN / "peft" / kind / name)
    assert np.abs(logits(kind, model) - expected(kind)[name]).max() < 1e-10
    assert np.abs(expected(kind)[name] - before).max() > 0.1
    set_adapter(model, None)
    assert np.array_equal(logits(kind, model), before)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_what_came_from_peft_goes_out_under_peft_s_names_and_in_again(kind, name, tmp_path):
    model, theirs = base(kind), GOLDEN / "peft" / kind / name
    load_peft(model, theirs)
    save_peft(model, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    of_peft = load_file(theirs / "adapter_model.safetensors")
    of_peft.pop("base_model.model.lm_head.base_layer.weight", None)  # the base's own, which PEFT saves too
    assert tensors.keys() == of_peft.keys()
    assert all(np.array_equal(tensors[key], of_peft[key]) for key in of_peft)
    again = base(kind)
    load_peft(again, tmp_path)
    assert np.abs(logits(kind, again) - expected(kind)[name]).max() < 1e-10


@pytest.mark.parametrize("ours", PROJECTIONS)
@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_adapter_of_ours_on_each_projection_goes_out_and_in(kind, ours, tmp_path):
    model = base(kind)
    apply_lora(model, LoRAConfig(rank=2, alpha=3, targets=(ours,)), rng=np.random.default_rng(0))
    for p in model.trainable_parameters():
        p.data += np.random.default_rng(1).standard_normal(p.data.shape)
    save_peft(model, tmp_path)
    names = {
        f"base_model.model.model.layers.{i}.{PROJECTIONS[ours]}.lora_{letter}.weight"
        for i in range(2)
        for letter in "AB"
    }
    assert load_file(tmp_path / "adapter_model.safetensors").keys() == names
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["task_type"] == "CAUSAL_LM" and config["target_modules"] == [PROJECTIONS[ours]]
    assert config["fan_in_fan_out"] is False
    again = base(kind)
    load_peft(again, tmp_path)
    assert np.array_equal(logits(kind, again), logits(kind, model))
    assert np.abs(logits(kind, model) - expected(kind)["base"]).max() > 0.01


def test_all_linear_in_a_file_means_every_projection_and_not_the_head(tmp_path):
    folder = Folder("peft/llama", tmp_path / "llama").path / "all_linear"
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": "all-linear"}))
    model = base("llama")
    load_peft(model, folder)
    assert np.abs(logits("llama", model) - expected("llama")["all_linear"]).max() < 1e-10


def test_a_head_s_own_weight_beside_its_adapter_must_be_the_model_s(tmp_path):
    folder = Folder("peft/llama", tmp_path / "llama").path / "head"
    file, name = folder / "adapter_model.safetensors", "base_model.model.lm_head.base_layer.weight"
    tensors = load_file(file)
    save_file(tensors | {name: tensors[name].astype("float16")}, file)
    model = base("llama")
    load_peft(model, folder)
    assert np.abs(logits("llama", model) - expected("llama")["head"]).max() < 1e-10
    for other, message in (
        (tensors[name] + 0.01, "differs from the model's lm_head.W"),
        (np.ones((2, 2)), "no place for"),
    ):
        save_file(tensors | {name: other}, file)
        with pytest.raises(ValueError, match=message):
            load_peft(base("llama"), folder)


# ---- a tied head: an adapter on one use must not reach the other


def changed(tmp_path, tensors, **changes):
    """The adapter "regex" of the tied Qwen2, with further tensors and other fields."""
    folder = Folder("peft/qwen2", tmp_path / "qwen2").path / "regex"
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    file = folder / "adapter_model.safetensors"
    save_file(load_file(file) | {f"base_model.model.{name}": array for name, array in tensors.items()}, file)
    return folder


def test_an_adapter_on_a_tied_head_is_refused(tmp_path):
    A, B = np.ones((2, 12)), np.ones((19, 2))
    tensors = {"lm_head.lora_A.weight": A, "lm_head.lora_B.weight": B}
    folder = changed(tmp_path, tensors, target_modules=["q_proj", "lm_head"])
    model = base("qwen2")
    with pytest.raises(ValueError, match="target_modules meant lm_head; minilora adapts no convolution, no tied head"):
        load_peft(model, folder)
    assert np.abs(logits("qwen2", model) - expected("qwen2")["base"]).max() < 1e-10


@pytest.mark.parametrize("name", ["lm_head", "embed_tokens"])
def test_a_copy_of_one_of_two_tied_matrices_is_refused(name, tmp_path):
    folder = changed(tmp_path, {}, modules_to_save=[name])
    with pytest.raises(ValueError, match=f"modules_to_save named '{name}'; minilora ties .* train it separately"):
        load_peft(base("qwen2"), folder)


def test_tensors_for_one_of_two_tied_matrices_that_no_field_asks_for_are_refused(tmp_path):
    folder = changed(tmp_path, {"lm_head.lora_A.weight": np.ones((2, 12)), "lm_head.lora_B.weight": np.ones((19, 2))})
    with pytest.raises(
        ValueError, match="holds base_model.model.lm_head.lora_A.weight, which adapter_config.json does "
    ):
        load_peft(base("qwen2"), folder)


def test_trained_rows_of_an_embedding_are_refused(tmp_path):
    with pytest.raises(ValueError, match="trainable_token_indices was .*; minilora does not compute this"):
        load_peft(base("qwen2"), changed(tmp_path, {}, trainable_token_indices=[1, 2]))


def test_the_layout_follows_the_model_s_head():
    config = LlamaConfig(vocab_size=7, n_layer=1, d_model=4, n_head=2, n_positions=5, tied_head=True)
    tied = Llama(config, np.random.default_rng(0))
    with pytest.raises(ValueError, match="targets named 'lm_head', tied to the token embedding; it must stay frozen"):
        apply_lora(tied, LoRAConfig(rank=1, targets=("lm_head",)), rng=np.random.default_rng(0))
