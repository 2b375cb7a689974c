"""Folders that are sharded, stored in other types, incomplete, damaged or hostile."""

import json
import re
import struct
import tracemalloc

import numpy as np
import pytest
from safetensors import SafetensorError

from interop.folders import CONFIG, INDEX, WEIGHTS, Folder, to_bfloat16
from minilora.interop import load_gpt2, load_roberta

LOADERS = {"gpt2": load_gpt2, "roberta_classification": load_roberta}


@pytest.fixture(params=LOADERS)
def name(request):
    return request.param


@pytest.fixture
def folder(name, tmp_path):
    return Folder(name, tmp_path / "folder")


@pytest.fixture
def load(name):
    return LOADERS[name]


def weights(model):
    return {p.name: p.data for p in model.parameters()}


def refused(load, folder, *messages):
    """Loading fails with a ValueError that says all of these."""
    with pytest.raises(ValueError) as error:
        load(folder.path)
    for message in messages:
        assert str(message) in str(error.value)


# ---- several files


def test_shards_give_what_one_file_gives(load, folder):
    expected = weights(load(folder.path))
    folder.shard()
    assert not folder.weights.exists()
    for parameter, array in weights(load(folder.path)).items():
        assert np.array_equal(array, expected[parameter])


def test_a_missing_shard_is_named(load, folder):
    places = folder.shard()
    missing = folder.path / sorted(places.values())[0]
    missing.unlink()
    refused(load, folder, f"there is no file {missing}")


def test_a_tensor_that_the_index_promises_and_no_shard_holds_is_named(load, folder):
    places = folder.shard()
    folder.write_index(places | {"extra.weight": sorted(places.values())[0]})
    refused(load, folder, sorted(places.values())[0], INDEX, "extra.weight is only in one of them")


def test_a_tensor_that_the_index_does_not_name_is_named(load, folder):
    places = folder.shard()
    name, file = sorted(places.items())[0]
    folder.write_index({other: place for other, place in places.items() if other != name})
    refused(load, folder, file, INDEX, f"{name} is only in one of them")


OUTSIDE = ["../model.safetensors", "/etc/model.safetensors", "a/b.safetensors", "..\\b.safetensors", "C:b.safetensors"]
OUTSIDE += ["model\0.safetensors", "weights.bin", "", 3, None, ["model.safetensors"]]


@pytest.mark.parametrize("place", OUTSIDE, ids=repr)
def test_an_index_that_points_outside_the_folder_is_refused(load, folder, place):
    places = folder.shard()
    name = sorted(places)[0]
    (folder.path.parent / WEIGHTS).write_bytes((folder.path / places[name]).read_bytes())
    folder.write_index(places | {name: place})
    refused(load, folder, folder.path / INDEX, f"{name} is in {place!r}; it must be in a .safetensors file of this")


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_an_index_whose_names_no_system_has_is_refused(load, folder, letter):
    places = folder.shard()
    name = sorted(places)[0]
    folder.write_index(places | {name: letter * 250 + ".safetensors"})
    refused(load, folder, folder.path / INDEX, f"{name} is in '{letter * 20}", "; it must be in a .safetensors file of")


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a"]}, {"weight_map": None}], ids=str)
def test_an_index_that_maps_nothing_is_refused(load, folder, index):
    folder.shard()
    (folder.path / INDEX).write_text(json.dumps(index))
    refused(load, folder, folder.path / INDEX, "weight_map was not a mapping of tensors to files")


# ---- other types


@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_a_checkpoint_becomes_the_dtype_that_was_asked_for(load, folder, stored):
    rounded = {name: array.astype(stored) for name, array in folder.tensors.items()}
    folder.write({name: array.astype("float64") for name, array in rounded.items()})
    expected = weights(load(folder.path, dtype="float64"))
    folder.write(rounded)
    for asked in ("float32", "float64"):
        for parameter, array in weights(load(folder.path, dtype=asked)).items():
            assert array.dtype == asked
            assert np.array_equal(array, expected[parameter].astype(asked))


def test_a_bfloat16_checkpoint_is_read_to_the_bit(load, folder):
    rounded = {name: to_bfloat16(array) for name, array in folder.tensors.items()}
    folder.write({name: values for name, (_, values) in rounded.items()})
    expected = weights(load(folder.path))
    folder.write({name: bits for name, (bits, _) in rounded.items()})
    content = folder.weights.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = content[8 : 8 + length].replace(b'"U16"', b'"BF16"')
    folder.weights.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length :])
    for parameter, array in weights(load(folder.path)).items():
        assert np.array_equal(array, expected[parameter])


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "complex64"])
def test_weights_that_are_no_floating_point_numbers_are_refused(load, folder, dtype):
    name = sorted(folder.tensors)[-1]
    try:
        folder.change(**{name: folder.tensors[name].astype(dtype)})
    except SafetensorError:
        pytest.skip(f"the oldest safetensors do not write {dtype}")
    refused(load, folder, folder.weights, name, "it must be one of F64, F32, F16, BF16")


# ---- tensors that do not fit


def test_each_missing_tensor_is_named(load, folder):
    tensors = folder.tensors
    for name in tensors:
        folder.write({other: array for other, array in tensors.items() if other != name})
        short = name.removeprefix("transformer.").removeprefix("roberta.")
        refused(load, folder, f"{folder.weights} lacks the tensor {short}")


def test_each_tensor_of_another_shape_is_named_with_its_file(load, folder):
    tensors = folder.tensors
    for name, array in tensors.items():
        folder.write(tensors | {name: array[:-1]})
        refused(load, folder, f"{folder.weights}: {name} has shape {array[:-1].shape}", f"asks for {array.shape}")


def test_an_extra_tensor_is_named_with_its_file(load, folder):
    folder.change(adapter__down__weight=np.ones(3))
    refused(load, folder, f"{folder.weights} holds adapter.down.weight, which the model has no place for")


def test_a_tensor_with_and_without_the_prefix_is_refused(load, folder):
    name = next(name for name in folder.tensors if "." in name and name.split(".")[0] in ("transformer", "roberta"))
    short = name.split(".", 1)[1]
    folder.change(**{short: folder.tensors[name]})
    refused(load, folder, folder.weights, f"holds {short} twice")


HUGE = {"gpt2": ("n_layer", "n_positions", "vocab_size"), "roberta_classification": ("num_hidden_layers", "vocab_size")}


def test_a_configuration_that_promises_too_much_is_refused_before_a_model_is_made(name, load, folder):
    for key in HUGE[name]:
        changed = Folder(name, folder.path.parent / key)
        changed.configure(**{key: 10**12})
        tracemalloc.start()
        refused(load, changed, changed.path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2_000_000


# ---- files that are damaged or hostile

DAMAGE = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"this is no model" * 100,
    "a pickle": lambda content: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "truncated in the header": lambda content: content[:100],
    "truncated in a tensor": lambda content: content[:-10],
    "too long": lambda content: content + b"\0",
    "a header of 2^63 bytes": lambda content: struct.pack("<Q", 2**63) + content[8:],
    "a header longer than the file": lambda content: struct.pack("<Q", len(content)) + content[8:],
    "a tensor beyond the file": lambda content: content.replace(b'data_offsets":[0,', b'data_offsets":[9,'),
    "a tensor of another type": lambda content: content.replace(b'"F64"', b'"F32"', 1),
    "an unknown type": lambda content: content.replace(b'"F64"', b'"F65"', 1),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_named(load, folder, damage):
    folder.weights.write_bytes(damage(folder.weights.read_bytes()))
    refused(load, folder, f"{folder.weights} is not a safetensors file, or it is damaged")


def test_a_damaged_shard_is_named(load, folder):
    places = folder.shard()
    shard = folder.path / sorted(places.values())[1]
    shard.write_bytes(shard.read_bytes()[:-1])
    refused(load, folder, f"{shard} is not a safetensors file, or it is damaged")


NO_CONFIG = {
    "nothing": "",
    "no JSON": "{not json",
    "nested too deeply": "[" * 100_000,
    "not UTF-8": b"\xff\xfe{",
    "a list": "[]",
    "a number": "3",
}


@pytest.mark.parametrize("content", NO_CONFIG.values(), ids=NO_CONFIG.keys())
def test_a_configuration_that_cannot_be_read_is_named(load, folder, content):
    (folder.path / CONFIG).write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(load, folder, folder.path / CONFIG)


def test_a_missing_configuration_is_named(load, folder):
    (folder.path / CONFIG).unlink()
    refused(load, folder, f"there is no file {folder.path / CONFIG}")


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt"])
def test_a_pickle_is_not_opened(load, folder, file):
    folder.weights.unlink()
    (folder.path / file).write_bytes(b"\x80\x04cos\nsystem\n(S'false'\ntR.")
    refused(load, folder, f"{folder.path / file} is a pickle, which can run code, so minilora does not open it")


def test_a_folder_without_weights_is_named(load, folder):
    folder.weights.unlink()
    refused(load, folder, f"{folder.path} has neither {WEIGHTS} nor {INDEX}")


def test_a_folder_that_is_none_is_refused(load, folder):
    for path in (folder.path / "nowhere", folder.weights):
        with pytest.raises(ValueError, match=re.escape(f"there is no folder {path}")):
            load(path)
