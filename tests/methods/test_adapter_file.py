"""An adapter as a file: A and B alone, back to the bit; and what is said about a file that does not fit."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from safetensors import safe_open

from methods.tiny import (
    CONFIG,
    EVERYWHERE,
    SMALL_LORA,
    logits_of,
    same_bits,
    tiny_gpt,
    tiny_lora,
    trainable_names,
    weights_of,
)
from minilora.files import load_arrays, save_arrays
from minilora.methods import LoRAConfig, adapter_names, load_adapter, lora_layers, merge_lora, save_adapter, set_adapter
from minilora.models import load_model, save_model

FULL = LoRAConfig(
    rank=2,
    alpha=3.5,
    targets=EVERYWHERE,
    dropout=0.1,
    rslora=True,
    init="gaussian",
    rank_pattern={"fc_in": 4},
    alpha_pattern={"blocks.1.attn.q_proj": 1},
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "adapter.safetensors"


@pytest.fixture
def saved(path):
    """A model whose adapter is in the file."""
    model = tiny_lora(dtype="float32")
    save_adapter(model, path)
    return model


# ---- there and back


@pytest.mark.parametrize("config", [SMALL_LORA, FULL], ids=["small", "every setting"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_adapter_comes_back_to_the_bit(path, config, dtype):
    model, other = tiny_lora(config, dtype), tiny_gpt(dtype)
    save_adapter(model, path)
    load_adapter(other, path)
    assert same_bits(weights_of(other), weights_of(model))
    assert same_bits(logits_of(other), logits_of(model))
    assert trainable_names(other) == trainable_names(model)
    assert next(iter(lora_layers(other).values())).factors.config == config


def test_a_float32_adapter_enters_a_float64_model_with_the_same_values(saved, path, tmp_path):
    save_model(tiny_gpt("float32"), tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors", dtype="float64")
    load_adapter(model, path)
    A = model.blocks[1].mlp.fc_in.A.data
    assert A.dtype == "float64"
    assert np.array_equal(A, saved.blocks[1].mlp.fc_in.A.data)


@pytest.mark.parametrize("dtype", ["int8", "bfloat", 3])
def test_a_dtype_that_a_file_cannot_have_is_refused_and_nothing_is_written(saved, tmp_path, dtype):
    with pytest.raises(ValueError, match=f"dtype was {dtype!r}; it must be 'float16', 'float32' or 'float64'"):
        save_adapter(saved, tmp_path / "file", dtype=dtype)
    assert not (tmp_path / "file").exists()


def test_what_float16_cannot_hold_is_refused_and_nothing_is_written(saved, tmp_path):
    saved.blocks[0].attn.q_proj.B.data[...] = 1e5
    with pytest.raises(ValueError, match="blocks.0.attn.q_proj.B has values that are infinite or NaN"):
        save_adapter(saved, tmp_path / "file", dtype="float16")
    assert not (tmp_path / "file").exists()


def test_several_adapters_go_into_files_and_come_back_under_any_name(saved, path, tmp_path):
    load_adapter(saved, path, name="copy")
    saved.blocks[0].attn.q_proj.B.data[...] = 1.0
    save_adapter(saved, tmp_path / "default.safetensors", name="default")
    save_adapter(saved, tmp_path / "active.safetensors")
    originals = load_arrays(path, "lora")[0]
    assert same_bits(load_arrays(tmp_path / "default.safetensors", "lora")[0], originals)
    assert not same_bits(load_arrays(tmp_path / "active.safetensors", "lora")[0], originals)
    assert adapter_names(saved) == ["default", "copy"]


def test_saving_while_merged_saves_A_and_B(saved, path, tmp_path):
    merge_lora(saved)
    save_adapter(saved, tmp_path / "merged.safetensors")
    assert (tmp_path / "merged.safetensors").read_bytes() == path.read_bytes()


# ---- what the file holds


def test_the_file_holds_A_and_B_and_nothing_of_the_base(saved, path):
    with safe_open(path, framework="numpy") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}
        about = json.loads(file.metadata()["minilora"])
    assert same_bits(held, {p.name: p.data for p in saved.trainable_parameters()})
    assert about.keys() == {"kind", "config", "base", "unquantized_base", "sha256"} and about["kind"] == "lora"
    assert about["config"] == json.loads(json.dumps(asdict(SMALL_LORA)))


def test_the_file_has_four_bytes_a_parameter_and_a_header(saved, path):
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    assert len(content) == header + 4 * sum(p.data.size for p in saved.trainable_parameters())
    assert header < 2000


# ---- files that do not fit


def rewrite(path, change):
    """Change what an adapter's file holds: `change` gets the arrays and the configuration."""
    arrays, about = load_arrays(path, "lora")
    change(arrays, about["config"])
    save_arrays(path, arrays, about)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def without(name):
    return lambda path: rewrite(path, lambda arrays, config: arrays.pop(name))


def with_array(name, *shape):
    return lambda path: rewrite(path, lambda arrays, config: arrays.update({name: np.zeros(shape, "float32")}))


def configured(**settings):
    return lambda path: rewrite(path, lambda arrays, config: config.update(settings))


DAMAGE = {
    "missing": (lambda path: path.unlink(), "there is no file .*adapter.safetensors"),
    "no safetensors": (lambda path: path.write_text("A B"), "adapter.safetensors is not a file that minilora wrote"),
    "empty": (lambda path: path.write_bytes(b""), "adapter.safetensors is not a file that minilora wrote"),
    "truncated": (truncate, "adapter.safetensors is not a file that minilora wrote, or it is damaged"),
    "a model": (lambda path: save_model(tiny_gpt(), path), "adapter.safetensors holds 'gpt'; expected 'lora'"),
    "A of another shape": (
        with_array("blocks.0.attn.q_proj.A", 3, 6),
        r"blocks.0.attn.q_proj.A has shape \(3, 6\); model and configuration want \(2, 6\)",
    ),
    "B of another shape": (
        with_array("blocks.1.mlp.fc_in.B", 2, 10),
        r"blocks.1.mlp.fc_in.B has shape \(2, 10\); model and configuration want \(10, 2\)",
    ),
    "a tensor too few": (
        without("blocks.1.mlp.fc_in.B"),
        "does not fit the model: blocks.1.mlp.fc_in.B is only in one",
    ),
    "a tensor too many": (
        with_array("blocks.0.attn.k_proj.A", 2, 6),
        "does not fit the model: blocks.0.attn.k_proj.A is only in one of them",
    ),
    "an unknown setting": (configured(magic=1), "no LoRA configuration that fits this model: .*'magic'"),
    "an impossible setting": (configured(rank=0), "rank was 0; it must be an integer of at least 1"),
    "a rank too large": (configured(rank=7), r"q_proj.A has shape \(2, 6\); model and configuration want \(7, 6\)"),
    "another rank": (configured(rank=3), r"blocks.0.attn.q_proj.A has shape \(2, 6\); .* want \(3, 6\)"),
    "an unknown target": (
        configured(targets=["c_attn"]),
        "'c_attn', which is not a linear layer or an embedding of this model; it has",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_file_that_does_not_fit_is_refused_and_the_model_stays_as_it_was(saved, path, damage, message):
    model = tiny_gpt("float32")
    before = weights_of(model)
    damage(path)
    with pytest.raises(ValueError, match=message):
        load_adapter(model, path)
    assert same_bits(weights_of(model), before)
    assert trainable_names(model) == list(before)


@pytest.mark.parametrize("setting", [{"rank": 0}, {"rank": 7}, {"targets": ["c_attn"]}], ids=str)
def test_every_error_about_a_files_configuration_names_the_file(saved, path, setting):
    configured(**setting)(path)
    with pytest.raises(ValueError, match="adapter.safetensors"):
        load_adapter(tiny_gpt("float32"), path)


def test_an_adapter_of_a_wider_model_is_refused(saved, path):
    wider = tiny_gpt("float32", config=type(CONFIG)(**(asdict(CONFIG) | {"d_model": 8})))
    with pytest.raises(ValueError, match=r"q_proj.A has shape \(2, 6\); model and configuration want \(2, 8\)"):
        load_adapter(wider, path)
    assert not lora_layers(wider)


def test_a_name_that_is_taken_is_refused(saved, path):
    with pytest.raises(ValueError, match="name was 'default'; the model already has an adapter of this name"):
        load_adapter(saved, path)


def test_loading_while_another_is_merged_is_refused(saved, path):
    merge_lora(saved)
    with pytest.raises(ValueError, match=r"call unmerge_lora\(model\) first"):
        load_adapter(saved, path, name="copy")


@pytest.mark.parametrize("place", ["a_file/adapter.safetensors", "a_folder"])
def test_a_path_that_cannot_be_written_leaves_nothing_behind(tmp_path, place):
    (tmp_path / "a_file").write_text("in the way")
    (tmp_path / "a_folder").mkdir()
    with pytest.raises(OSError):
        save_adapter(tiny_lora(), tmp_path / place)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a_file", "a_folder"]
    assert (tmp_path / "a_file").read_text() == "in the way"


def test_the_base_is_active_again_with_none_after_loading(saved, path):
    model = tiny_gpt("float32")
    load_adapter(model, path, name="loaded")
    set_adapter(model, None)
    assert same_bits(logits_of(model), logits_of(tiny_gpt("float32")))
