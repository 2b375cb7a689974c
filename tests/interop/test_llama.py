"""Llama, Mistral and Qwen2 from Hugging Face folders: what transformers computes (tests/golden/make_llama.py), what may
vary, and what is refused by name.
"""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from interop.folders import GOLDEN, Folder, to_bfloat16
from minilora.data.batches import LMBatch
from minilora.data.packing import pack_batch
from minilora.interop import load_llama
from minilora.interop.foreign_files import write_tensors
from minilora.models import Llama
from minilora.ops import Llama3Scaling

NAMES = ("grouped", "head_dim", "theta", "tied", "bias", "llama3", "qwen2", "mistral")
LOGITS, GRADIENTS = 1e-10, 1e-7


def golden(name):
    return load_llama(GOLDEN / "llama" / name, dtype="float64"), expected_of(name)


def expected_of(name):
    return load_file(GOLDEN / "llama" / name / "expected.safetensors")


def batch_of(expected, lengths=None):
    """The golden batch; with lengths, only the first so many positions of each row count."""
    ids, targets = expected["ids"], expected["targets"]
    lengths = np.full(len(ids), ids.shape[1]) if lengths is None else np.array(lengths)
    return LMBatch(ids, targets, np.arange(ids.shape[1]) < lengths[:, None])


def gradients_of(model, batch):
    loss, cache = model.loss(batch)
    model.backward_loss(1.0, cache)
    return loss, {p.name: p.grad for p in model.parameters()}


def norm_relative(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(name):
    model, expected = golden(name)
    assert type(model) is Llama
    logits, _ = model.forward(expected["ids"])
    assert logits.shape == expected["logits"].shape
    assert np.abs(logits - expected["logits"]).max() < LOGITS


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradients_of_every_parameter_are_those_of_automatic_differentiation(name):
    model, expected = golden(name)
    loss, ours = gradients_of(model, batch_of(expected))
    assert abs(loss - expected["loss"]) < LOGITS
    gradients = load_llama(GOLDEN / "llama" / name / "gradients", dtype="float64")
    assert len(ours) == len(list(gradients.parameters())) >= 20
    for theirs in gradients.parameters():
        assert norm_relative(ours[theirs.name], theirs.data) < GRADIENTS, theirs.name  # RoPE turns k's bias: it counts


@pytest.mark.parametrize("name", NAMES)
def test_texts_packed_into_one_row_give_transformers_logits_of_each_and_the_gradients_of_all(name):
    lengths = [19, 5, 12, 1, 8]
    model, expected = golden(name)
    packed = pack_batch(batch_of(expected, lengths))
    logits, _ = model.forward(packed.ids, text_lengths=packed.text_lengths)
    alone = np.concatenate([expected["logits"][n, :length] for n, length in enumerate(lengths)])
    assert packed.ids.shape == (1, sum(lengths)) and np.abs(logits[0] - alone).max() < LOGITS
    loss, ours = gradients_of(model, packed)
    other, _ = golden(name)
    loss_alone, theirs = gradients_of(other, batch_of(expected, lengths))
    assert abs(loss - loss_alone) < LOGITS
    assert all(np.abs(ours[path] - theirs[path]).max() < 1e-13 for path in theirs)


def test_a_packed_row_without_its_lengths_is_another_text():
    model, expected = golden("theta")
    packed = pack_batch(batch_of(expected, [19, 5, 8, 1, 1]))
    logits, _ = model.forward(packed.ids)
    assert np.abs(logits[0, 19:24] - expected["logits"][1, :5]).max() > 0.01


# ---- variants


@pytest.fixture
def folder(tmp_path):
    return Folder("llama/llama3", tmp_path / "llama")


@pytest.fixture
def qwen2(tmp_path):
    return Folder("llama/qwen2", tmp_path / "qwen2")


@pytest.fixture
def mistral(tmp_path):
    return Folder("llama/mistral", tmp_path / "mistral")


def logits_of(folder, name="llama3", dtype="float64"):
    return load_llama(folder.path, dtype=dtype).forward(expected_of(name)["ids"])[0]


def same_as_before(folder, name="llama3"):
    return np.array_equal(logits_of(folder, name), golden(name)[0].forward(expected_of(name)["ids"])[0])


def test_the_names_of_transformers_4_give_the_same_model(folder):
    (folder.path / "config.json").write_text((GOLDEN / "llama" / "old_names.json").read_text())
    assert same_as_before(folder)
    config = load_llama(folder.path).config
    assert config.rope_theta == 10000.0 and config.rope_scaling == Llama3Scaling(8.0, 1.0, 4.0, 64)
    folder.configure(rope_scaling=None)
    assert load_llama(folder.path).config.rope_scaling is None and not same_as_before(folder)


def test_a_theta_of_transformers_4_counts_and_so_does_the_old_name_of_a_type(folder):
    folder.configure("rope_parameters", rope_theta=5e5, rope_scaling={"type": "default"})
    assert load_llama(folder.path).config.rope_theta == 5e5
    folder.configure("rope_theta", "rope_scaling")
    assert load_llama(folder.path).config.rope_theta == 10000.0


def test_the_original_context_stands_in_one_of_three_places(folder):
    rope = json.loads((folder.path / "config.json").read_text())["rope_parameters"]
    del rope["original_max_position_embeddings"]
    folder.configure(rope_parameters=rope)
    assert load_llama(folder.path).config.rope_scaling.original_n_positions == 40
    folder.configure(original_max_position_embeddings=64)
    assert same_as_before(folder)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_shards_of_half_precision(folder, dtype):
    rounded = {}
    for name, array in folder.tensors.items():
        rounded[name] = to_bfloat16(array)[1] if dtype == "bfloat16" else array.astype(dtype)
    folder.write(rounded)
    expected = logits_of(folder)
    folder.shard()
    if dtype == "bfloat16":
        for file in folder.path.glob("model-*.safetensors"):
            tensors = load_file(file)
            shapes = {name: array.shape for name, array in tensors.items()}
            write_tensors(file, shapes, dtype, (rounded[name] for name in tensors))
    assert np.array_equal(logits_of(folder), expected)


def test_frequencies_of_old_checkpoints_are_dropped(folder):
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": np.ones(4) for i in range(2)}
    folder.write(folder.tensors | buffers | {"model.rotary_emb.inv_freq": np.ones(4)})
    assert same_as_before(folder)


def test_names_without_the_prefix_and_with_a_wrapper_s(folder):
    folder.rename(lambda name: "module._orig_mod." + name.removeprefix("model."))
    assert same_as_before(folder)


def test_a_head_that_equals_the_embedding_may_be_stored_too_if_it_is_tied(qwen2):
    embedding = qwen2.tensors["model.embed_tokens.weight"]
    qwen2.change(lm_head__weight=embedding)
    assert same_as_before(qwen2, "qwen2")
    qwen2.change(lm_head__weight=embedding + 1e-9)
    with pytest.raises(ValueError, match="lm_head.weight differs from embed_tokens.weight"):
        load_llama(qwen2.path)


@pytest.mark.parametrize("window", [None, 40, 4096])
def test_a_window_that_hides_nothing_is_none(mistral, window):
    mistral.configure(sliding_window=window)
    assert same_as_before(mistral, "mistral")


def test_what_old_configurations_do_not_say_has_its_default(folder):
    names = ("attention_bias", "mlp_bias", "tie_word_embeddings", "hidden_act", "pretraining_tp", "architectures")
    folder.configure(*names)
    assert same_as_before(folder)
    folder.configure("rms_norm_eps")
    assert load_llama(folder.path).config.rms_norm_eps == 1e-6


def test_float32_is_the_default_and_all_is_trainable(folder):
    model = load_llama(folder.path)
    assert all(p.trainable and p.data.dtype == np.float32 for p in model.parameters())


# ---- refused by name

REFUSED = {
    "model_type": "gemma",
    "architectures": ["LlamaForSequenceClassification"],
    "hidden_act": "gelu",
    "mlp_bias": True,
    "attention_bias": "yes",
    "quantization_config": {"quant_method": "bitsandbytes"},
    "hidden_size": "12",
    "num_hidden_layers": 0,
    "num_attention_heads": None,
    "num_key_value_heads": 2.5,
    "head_dim": True,
    "vocab_size": -1,
    "layer_types": ["full_attention", "sliding_attention"],
    "tie_word_embeddings": 2,
}


@pytest.mark.parametrize(("key", "value"), REFUSED.items(), ids=REFUSED.keys())
def test_what_changes_the_computation_or_cannot_be_is_refused_by_name(folder, key, value):
    folder.configure(**{key: value})
    with pytest.raises(ValueError, match=re.escape(f"config.json: {key} was {value!r}; ")):
        load_llama(folder.path)


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "longrope", "su", ["llama3"], 3, None])
@pytest.mark.parametrize("field", ["rope_scaling", "rope_parameters"])
def test_every_other_kind_of_rope_is_refused_by_its_name(folder, field, kind):
    folder.configure(**{"rope_parameters": None, field: {"rope_type": kind, "factor": 2.0}})
    message = f"config.json: {field} had the rope_type {kind!r}; it must be 'default' or 'llama3'"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_llama(folder.path)


ROPE = {
    "a list": ([1], "rope_parameters was [1]; it must be a mapping"),
    "unknown": ({"rope_type": "default", "mrope_section": [2]}, "rope_parameters had 'mrope_section'; a rope_type of"),
    "nested": ({"full_attention": {"rope_type": "default"}}, "rope_parameters had 'full_attention'; a rope_type of"),
    "theta": ({"rope_theta": "1e4"}, "rope_theta was '1e4'; it must be a positive number"),
    "theta 0": ({"rope_theta": 0}, "rope_theta was 0; it must be a positive number"),
    "theta large": ({"rope_theta": 10**400}, "it must be a positive number"),
    "partial": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor was 0.5; it must be 1"),
    "factor": ({"rope_type": "llama3"}, "factor was None; it must be a positive number"),
    "order": (
        {"rope_type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 1},
        "low_freq_factor was 4; it must be below high_freq_factor",
    ),
}


@pytest.mark.parametrize(("rope", "message"), ROPE.values(), ids=ROPE.keys())
def test_fields_of_rope_that_are_wrong_are_refused_by_name(folder, rope, message):
    folder.configure(rope_parameters=rope)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_llama(folder.path)
    assert "config.json: rope_parameters" in str(error.value)


@pytest.mark.parametrize("window", [39, 1])
def test_a_window_shorter_than_the_context_is_refused(mistral, qwen2, window):
    mistral.configure(sliding_window=window)
    qwen2.configure(sliding_window=window, use_sliding_window=True)
    for made in (mistral, qwen2):
        with pytest.raises(
            ValueError, match=f"config.json: sliding_window was {window}; it must be null, or at least "
        ):
            load_llama(made.path)
    qwen2.configure(use_sliding_window=False)
    assert same_as_before(qwen2, "qwen2")


def test_a_mistral_that_does_not_say_its_window_has_transformers_4096(mistral):
    mistral.configure("sliding_window")
    assert same_as_before(mistral, "mistral")
    mistral.configure(max_position_embeddings=4097)
    with pytest.raises(ValueError, match="sliding_window was 4096; it must be null, or at least"):
        load_llama(mistral.path)


def test_tensors_that_are_missing_unknown_or_of_another_shape_are_named(folder):
    whole = folder.tensors
    folder.change(model__norm__weight=None)
    with pytest.raises(ValueError, match="lacks the tensor norm.weight"):
        load_llama(folder.path)
    folder.write(whole | {"model.layers.1.self_attn.q_norm.weight": np.ones(8)})
    with pytest.raises(ValueError, match="layers.1.self_attn.q_norm.weight, which the model has no place for"):
        load_llama(folder.path)
    folder.write(whole)
    folder.configure(num_key_value_heads=3)
    with pytest.raises(ValueError, match=re.escape("k_proj.weight has shape (8, 12); config.json asks for (24, 12)")):
        load_llama(folder.path)
    folder.configure(num_key_value_heads=2)
    with pytest.raises(ValueError, match="config.json: n_kv_head was 2; it must divide n_head = 3"):
        load_llama(folder.path)


def test_a_head_of_its_own_that_is_not_stored_is_missing(folder):
    folder.change(lm_head__weight=None)
    with pytest.raises(ValueError, match="lacks the tensor lm_head.weight"):
        load_llama(folder.path)
