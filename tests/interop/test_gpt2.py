"""GPT-2 from a Hugging Face folder: its variants on the hub, and what is refused by name."""

import re

import numpy as np
import pytest

from interop.folders import Folder
from minilora.interop import load_gpt2

IDS = np.array([[3, 1, 4, 1, 5, 9, 2]])


@pytest.fixture
def folder(tmp_path):
    return Folder("gpt2", tmp_path / "gpt2")


@pytest.fixture
def logits(folder):
    """Those of the folder as it was."""
    return load_gpt2(folder.path, dtype="float64").forward(IDS)[0]


def hub_name(name):
    return name.removeprefix("transformer.")


def masks(prefix=""):
    buffers = {f"{prefix}h.{i}.attn.bias": np.tril(np.ones((1, 1, 11, 11), "float32")) for i in range(2)}
    return buffers | {f"{prefix}h.{i}.attn.masked_bias": np.float32(-1e4) for i in range(2)}


# ---- variants


def test_the_prefix_may_be_missing(folder, logits):
    folder.rename(hub_name)
    assert np.array_equal(load_gpt2(folder.path, dtype="float64").forward(IDS)[0], logits)


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_mask_buffers_are_dropped_and_the_bias_of_c_attn_is_not(folder, logits, prefix):
    if not prefix:
        folder.rename(hub_name)
    folder.change(**masks(prefix))
    assert np.array_equal(load_gpt2(folder.path, dtype="float64").forward(IDS)[0], logits)


def test_a_head_that_equals_the_embedding_is_tied_to_it(folder, logits):
    folder.change(lm_head__weight=folder.tensors["transformer.wte.weight"])
    assert np.array_equal(load_gpt2(folder.path, dtype="float64").forward(IDS)[0], logits)


def test_without_n_inner_the_mlp_is_four_times_as_wide(folder):
    folder.configure(n_inner=None)
    message = "h.0.mlp.c_fc.weight has shape (12, 20); config.json asks for (12, 48)"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_gpt2(folder.path)


def test_float32_is_the_default_and_all_is_trainable(folder):
    model = load_gpt2(folder.path)
    assert all(p.trainable and p.data.dtype == np.float32 for p in model.parameters())
    assert model.config.layer_norm_eps == 1e-4


def test_another_gelu_of_the_same_formula_is_the_same(folder, logits):
    folder.configure(activation_function="gelu_pytorch_tanh", reorder_and_upcast_attn=True)
    assert np.array_equal(load_gpt2(folder.path, dtype="float64").forward(IDS)[0], logits)


def test_the_epsilon_has_the_default_of_transformers(folder):
    folder.configure("layer_norm_epsilon")
    assert load_gpt2(folder.path).config.layer_norm_eps == 1e-5


def test_what_old_configurations_do_not_say_has_its_default(folder, logits):
    folder.configure("scale_attn_weights", "add_cross_attention", "tie_word_embeddings", "activation_function")
    assert np.array_equal(load_gpt2(folder.path, dtype="float64").forward(IDS)[0], logits)


# ---- refused by name

REFUSED = {
    "model_type": "gpt_neo",
    "activation_function": "relu",
    "scale_attn_weights": False,
    "scale_attn_by_inverse_layer_idx": True,
    "add_cross_attention": True,
    "tie_word_embeddings": False,
    "pruned_heads": {"0": [1]},
    "quantization_config": {"quant_method": "gptq"},
    "n_embd": "12",
    "n_layer": 0,
    "n_head": None,
    "n_inner": 2.5,
    "vocab_size": True,
}


@pytest.mark.parametrize(("key", "value"), REFUSED.items(), ids=REFUSED.keys())
def test_what_changes_the_computation_or_cannot_be_is_refused_by_name(folder, key, value):
    folder.configure(**{key: value})
    with pytest.raises(ValueError, match=re.escape(f"config.json: {key} was {value!r}; ")):
        load_gpt2(folder.path)


@pytest.mark.parametrize("key", ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "model_type"])
def test_a_size_that_is_not_said_is_refused_by_name(folder, key):
    folder.configure(key)
    with pytest.raises(ValueError, match=f"config.json: {key} was None"):
        load_gpt2(folder.path)


def test_heads_that_do_not_divide_the_channels_are_refused(folder):
    folder.configure(n_head=5)
    with pytest.raises(ValueError, match="config.json: n_head was 5; it must divide d_model = 12"):
        load_gpt2(folder.path)


@pytest.mark.parametrize("eps", ["small", -1.0, None])
def test_an_epsilon_that_is_no_number_is_refused(folder, eps):
    folder.configure(layer_norm_epsilon=eps)
    with pytest.raises(ValueError, match=f"config.json: layer_norm_eps was {eps!r}"):
        load_gpt2(folder.path)


def test_an_untied_head_is_refused(folder):
    folder.change(lm_head__weight=folder.tensors["transformer.wte.weight"] + 1e-9)
    with pytest.raises(ValueError, match="model.safetensors: lm_head.weight differs from wte.weight"):
        load_gpt2(folder.path)


def test_a_mask_of_a_layer_that_is_not_there_is_refused(folder):
    folder.change(h__2__attn__bias=np.ones((1, 1, 11, 11)))
    with pytest.raises(ValueError, match="model.safetensors holds h.2.attn.bias, which the model has no place for"):
        load_gpt2(folder.path)


def test_the_head_of_another_task_is_refused(folder):
    folder.configure(architectures=["GPT2ForSequenceClassification"])
    folder.change(score__weight=np.ones((2, 12)))
    with pytest.raises(ValueError, match="holds score.weight, which the model has no place for"):
        load_gpt2(folder.path)


@pytest.mark.parametrize("dtype", ["int8", "float16", "bfloat16", "complex64", None])
def test_another_dtype_is_refused(folder, dtype):
    with pytest.raises(ValueError, match=f"dtype was {dtype!r}; it must be 'float32' or 'float64'"):
        load_gpt2(folder.path, dtype=dtype)
