"""A model on disk: it comes back as it was, and a file that is anything else is refused with the reason."""

import json
import re
import struct
import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minilora.models import load_model, save_model
from models.tiny_encoders import ALL, IDS, MASK, tiny


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(make_model, path):
    """A float32 model that has been saved to `path`."""
    model = make_model("float32")
    save_model(model, path)
    return model


# ---- there and back


def test_float32_comes_back_to_the_bit(saved, path):
    loaded = load_model(path)
    assert loaded.config == saved.config
    for (name, p), (loaded_name, q) in zip(saved.named_parameters(), loaded.named_parameters(), strict=True):
        assert loaded_name == name == q.name
        assert q.trainable and q.data.dtype == np.float32
        assert np.array_equal(p.data, q.data)


def test_float16_comes_back_within_half_precision_at_half_the_size(saved, path, ids):
    size = path.stat().st_size
    save_model(saved, path, dtype="float16")
    assert path.stat().st_size < 0.7 * size
    loaded = load_model(path)
    for p, q in zip(saved.parameters(), loaded.parameters(), strict=True):
        assert q.data.dtype == np.float32
        assert np.allclose(p.data, q.data, rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("dtype", ["int8", "bfloat"])
def test_a_dtype_that_a_file_cannot_have_is_refused_and_nothing_is_written(model, path, dtype):
    with pytest.raises(ValueError, match=f"dtype was {dtype!r}; it must be 'float16', 'float32' or 'float64'"):
        save_model(model, path, dtype=dtype)
    assert not path.exists()


def test_a_model_can_be_read_in_float64(saved, path, ids):
    logits, _ = load_model(path, dtype="float64").forward(ids)
    assert logits.dtype == np.float64
    assert np.allclose(logits, saved.forward(ids)[0], rtol=0, atol=1e-4)


def test_the_file_holds_each_parameter_once_and_what_was_said_about_it(model, path):
    save_model(model, path, steps=7)
    assert set(load_file(path)) == {name for name, _ in model.named_parameters()}
    header = path.read_bytes()[8:]
    about = json.JSONDecoder().raw_decode(header.decode("latin-1"))[0]["__metadata__"]["minilora"]
    about = json.loads(about)
    assert about | {"sha256": None} == {"kind": "gpt", "config": asdict(model.config), "steps": 7, "sha256": None}


def test_saving_replaces_the_file_and_leaves_nothing_beside_it(saved, path):
    saved.ln_f.bias.data[...] = 5.0
    save_model(saved, path)
    assert (load_model(path).ln_f.bias.data == 5.0).all()
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_made(model, tmp_path):
    save_model(model, tmp_path / "a" / "b" / "model.safetensors")
    assert load_model(tmp_path / "a" / "b" / "model.safetensors").config == model.config


def test_a_failed_save_leaves_no_temporary_file(model, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        save_model(model, tmp_path / "folder")
    assert list(tmp_path.rglob("*")) == [tmp_path / "folder"]


@pytest.mark.parametrize("model_class", ALL)
def test_a_file_says_which_architecture_it_holds(model_class, path):
    model = tiny(model_class, "float32")
    save_model(model, path)
    loaded = load_model(path)
    assert type(loaded) is model_class and loaded.config == model.config
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert np.array_equal(loaded.forward(IDS, MASK)[0], model.forward(IDS, MASK)[0])


def test_what_is_no_model_is_not_saved(model, path):
    with pytest.raises(TypeError, match="model was a Block; it must be one of GPT, Llama, Roberta, Roberta"):
        save_model(model.blocks[0], path)
    assert not path.exists()


# ---- files that are something else


def write_with(path, *, drop=(), add=None, **about):
    """Write the saved model again, with other tensors or another description."""
    arrays = {name: array for name, array in load_file(path).items() if name not in drop} | (add or {})
    save_file(arrays, path, metadata={"minilora": json.dumps(about)})


def test_a_missing_file_is_named(path):
    with pytest.raises(ValueError, match=f"there is no file {re.escape(str(path))}"):
        load_model(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        load_model(tmp_path)


DAMAGE = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"this is no model" * 100,
    "a pickle": lambda content: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "truncated in the header": lambda content: content[:100],
    "truncated in a tensor": lambda content: content[:-10],
    "too long": lambda content: content + b"\0",
    "a header of 2^63 bytes": lambda content: struct.pack("<Q", 2**63) + content[8:],
    "a header of 2^64 - 1 bytes": lambda content: b"\xff" * 8 + content[8:],
    "a header longer than the file": lambda content: struct.pack("<Q", len(content)) + content[8:],
    "a header of no bytes": lambda content: struct.pack("<Q", 0) + content[8:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_refused(saved, path, damage):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} is not a file that minilora wrote, or it is damaged"):
        load_model(path)


DESCRIPTIONS = {
    "no JSON": "{not json",
    "a list": "[]",
    "a number": "3",
    "a text": '"gpt"',
    "null": "null",
    "nested too deeply": "[" * 100_000,
}


@pytest.mark.parametrize("metadata", DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
def test_a_description_that_is_no_mapping_is_refused(saved, path, metadata):
    save_file(load_file(path), path, metadata={"minilora": metadata})
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_model(path)


def test_a_tensor_of_a_type_that_numpy_has_not_is_refused(path):
    header = json.dumps({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_model(path)


def test_a_safetensors_file_of_somebody_else_is_refused(path):
    save_file({"x": np.ones(2)}, path)
    with pytest.raises(ValueError, match="holds 'something unknown'; expected 'gpt'"):
        load_model(path)


def test_another_kind_is_refused(saved, path):
    write_with(path, kind="lora", config=asdict(saved.config))
    with pytest.raises(ValueError, match="holds 'lora'; expected 'gpt'"):
        load_model(path)


CONFIGS = {
    "none": (None, "configuration of a GPT"),
    "a list": ([1, 2], "configuration of a GPT"),
    "a zero": ({"n_layer": 0}, "n_layer was 0"),
    "an unknown entry": ({"n_experts": 8}, "n_experts"),
}


@pytest.mark.parametrize(("change", "message"), CONFIGS.values(), ids=CONFIGS.keys())
def test_a_configuration_that_cannot_be_is_refused(saved, path, change, message):
    config = asdict(saved.config) | change if isinstance(change, dict) else change
    write_with(path, kind="gpt", config=config)
    with pytest.raises(ValueError, match=message):
        load_model(path)


TENSORS = {
    "missing": ({"drop": ["ln_f.gain"]}, "lacks ln_f.gain"),
    "two missing": ({"drop": ["ln_f.gain", "blocks.0.attn.q_proj.W"]}, "lacks blocks.0.attn.q_proj.W, ln_f.gain"),
    "extra": ({"add": {"lm_head.W": np.ones(2)}}, "holds lm_head.W, which the model does not have"),
    "of another shape": (
        {"add": {"wpe.W": np.ones((8, 12))}},
        "wpe.W has shape (8, 12); the model's has (9, 12)",
    ),
    "transposed": (
        {"add": {"blocks.1.mlp.fc_in.W": np.ones((12, 20))}},
        "blocks.1.mlp.fc_in.W has shape (12, 20); the model's has (20, 12)",
    ),
}


@pytest.mark.parametrize(("change", "message"), TENSORS.values(), ids=TENSORS.keys())
def test_tensors_that_do_not_fit_are_refused_by_name(saved, path, change, message):
    write_with(path, kind="gpt", config=asdict(saved.config), **change)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_model(path)


HUGE = {
    "channels": ({"d_model": 3 << 26, "n_head": 3}, "the model's has (13, 201326592)"),
    "a vocabulary": ({"vocab_size": 1 << 40}, "wte.W has shape (13, 12); the model's has (1099511627776, 12)"),
    "positions": ({"n_positions": 1 << 50}, "wpe.W has shape"),
    "more than an address": ({"d_model": 3 << 60, "n_head": 3}, "the configuration of a model that is too large"),
    "blocks": ({"n_layer": 1 << 40}, "n_layer was 1099511627776, and the file holds"),
}


@pytest.mark.parametrize(("change", "message"), HUGE.values(), ids=HUGE.keys())
def test_a_configuration_of_a_huge_model_is_refused_before_any_memory_is_taken(saved, path, change, message):
    write_with(path, kind="gpt", config=asdict(saved.config) | change)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=re.escape(message)):
            load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["float16", "int8", "complex64", None])
def test_a_model_is_computed_in_float32_or_float64_and_in_nothing_else(saved, path, dtype):
    with pytest.raises(ValueError, match=f"dtype was {dtype!r}; it must be 'float32' or 'float64'"):
        load_model(path, dtype=dtype)


def test_tensors_that_are_no_floating_point_numbers_are_refused(saved, path):
    write_with(path, kind="gpt", config=asdict(saved.config), add={"ln_f.gain": np.ones(12, "int64")})
    with pytest.raises(ValueError, match="ln_f.gain is int64; it must be floating-point numbers"):
        load_model(path)
