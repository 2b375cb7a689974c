"""A Llama written as GGUF is the same Llama when it is read: every parameter to the bit, and every field."""

from dataclasses import replace

import numpy as np
import pytest

from interop.gguf_models import CONFIGS, changed, save_and_load, tiny_llama
from minilora.interop import gguf_place
from minilora.interop.gguf_blocks import dequantize
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_llama import llama_places
from minilora.interop.gguf_load import load_gguf
from minilora.interop.gguf_place import to_halves, to_neighbours
from minilora.interop.gguf_save import save_gguf
from minilora.models import Llama
from minilora.ops import Llama3Scaling, quantize_q8_0
from minilora.ops.rope import rope_forward
from minilora.ops.rope_table import rope_frequencies, rope_table


def same(model, other):
    ours, theirs = dict(model.named_parameters()), dict(other.named_parameters())
    assert list(ours) == list(theirs)
    for name, p in ours.items():
        assert np.array_equal(p.data, theirs[name].data), name


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_model_is_read_as_it_was_written(tmp_path, config):
    model = tiny_llama(config)
    loaded = save_and_load(model, tmp_path / "model.gguf", dtype="f32")
    same(model, loaded)
    assert all(p.trainable for p in loaded.parameters())
    rounded = {name: float(np.float32(getattr(config, name))) for name in ("rope_theta", "rms_norm_eps")}
    assert loaded.config == replace(config, **rounded)


def test_the_model_has_the_dtype_that_is_asked_for(tmp_path):
    model = tiny_llama(CONFIGS["grouped"])
    save_gguf(model, tmp_path / "model.gguf", dtype="f32")
    loaded = load_gguf(tmp_path / "model.gguf", dtype="float64")
    assert {p.data.dtype for p in loaded.parameters()} == {np.dtype("float64")}
    same(model, loaded)


@pytest.mark.parametrize("dtype", ["f16", "q8_0"])
def test_matrices_are_rounded_and_vectors_are_not(tmp_path, dtype):
    model = tiny_llama(CONFIGS["grouped"])
    loaded = dict(save_and_load(model, tmp_path / "model.gguf", dtype=dtype).named_parameters())
    for name, p in model.named_parameters():
        W, blocks = p.data, p.data.ndim == 2 and dtype == "q8_0" and p.data.shape[1] % 32 == 0
        expected = W if W.ndim == 1 else W.astype("f2").astype("f4")
        if blocks:  # whichever the order of the rows: blocks lie within a row
            expected = dequantize(quantize_q8_0(W.reshape(-1, 32)).reshape(-1), 8, W.shape)
        assert np.array_equal(loaded[name].data, expected), name
        assert W.ndim == 1 or not np.array_equal(loaded[name].data, W)


def test_rotating_halves_of_ours_is_rotating_neighbours_of_theirs():
    n, K, T, I = 3, 8, 5, 7
    rng = np.random.default_rng(0)
    W, x = rng.standard_normal((n * K, I)), rng.standard_normal((T, I))
    cos, sin = rope_table(np.arange(T), rope_frequencies(K, 100.0), "float64")  # (T, K/2)
    ours = rope_forward((x @ W.T).reshape(1, T, n, K).swapaxes(1, 2), cos, sin)[0][0]  # (n, T, K)
    z = (x @ to_neighbours(W, n).T).reshape(T, n, K).swapaxes(0, 1)  # (n, T, K)
    even, odd = z[..., 0::2] * cos - z[..., 1::2] * sin, z[..., 0::2] * sin + z[..., 1::2] * cos
    assert np.allclose(ours, np.concatenate([even, odd], axis=-1), atol=1e-14)
    assert np.array_equal(to_halves(to_neighbours(W, n), n), W)
    assert np.array_equal(to_neighbours(to_halves(W[:, 0], n), n), W[:, 0])
    assert not np.array_equal(to_neighbours(W, n), W) and not np.array_equal(to_neighbours(W, n), to_halves(W, n))


def test_the_rows_of_q_and_k_are_those_of_llama_cpp(tmp_path):
    model = tiny_llama(CONFIGS["grouped"])
    H, G, K = 4, 2, 8
    save_gguf(model, tmp_path / "model.gguf", dtype="f32")
    tensors = GGUFFile(tmp_path / "model.gguf").tensors
    for letter, n in (("q", H), ("k", G)):
        W = dict(model.named_parameters())[f"blocks.1.attn.{letter}_proj.W"].data
        stored = tensors[f"blk.1.attn_{letter}.weight"].read()
        for head in range(n):
            for i in range(K // 2):
                assert np.array_equal(stored[head * K + 2 * i], W[head * K + i])
                assert np.array_equal(stored[head * K + 2 * i + 1], W[head * K + i + K // 2])


def test_qwen2_is_not_permuted(tmp_path):
    model = tiny_llama(CONFIGS["qwen2"])
    save_gguf(model, tmp_path / "model.gguf", dtype="f32")
    file = GGUFFile(tmp_path / "model.gguf")
    assert file.fields["general.architecture"] == "qwen2"
    assert np.array_equal(file.tensors["blk.0.attn_q.weight"].read(), model.blocks[0].attn.q_proj.W.data)
    assert np.array_equal(file.tensors["blk.0.attn_k.bias"].read(), model.blocks[0].attn.k_proj.bias.data)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_the_scaling_of_llama_3_is_recognised_by_its_factors(tmp_path, factor):
    config = replace(CONFIGS["llama3"], rope_scaling=Llama3Scaling(factor, 1.0, 4.0, 8192))
    loaded = save_and_load(tiny_llama(config), tmp_path / "model.gguf", dtype="f32")
    assert loaded.config.rope_scaling == config.rope_scaling
    factors = GGUFFile(tmp_path / "model.gguf").tensors["rope_freqs.weight"].read()
    assert factors[0] == 1.0 and factors[-1] == factor and len(np.unique(factors)) > 2  # some lie between


def test_another_scaling_is_refused(tmp_path):
    config = replace(CONFIGS["llama3"], rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 4096))
    with pytest.raises(ValueError, match="rope_freqs.weight are not those of Llama 3"):
        save_and_load(tiny_llama(config), tmp_path / "model.gguf", dtype="f32")


WRONG = {
    "architecture": ({"general.architecture": "gemma"}, "general.architecture was 'gemma'; it must be"),
    "adapter": ({"general.type": "adapter"}, "general.type was 'adapter'; it must be 'model'"),
    "experts": ({"llama.expert_count": 8}, "llama.expert_count was 8; it must be 0 or absent"),
    "yarn": ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type was 'yarn'; it must be 'none' or absent"),
    "half a rotation": ({"llama.rope.dimension_count": 4}, "rope.dimension_count was 4; it must be the head size, 8"),
    "window": ({"llama.attention.sliding_window": 16}, "sliding_window was 16; .* at least context_length = 32"),
    "values": ({"llama.attention.value_length": 4}, "attention.value_length was 4; it must be the head size"),
    "layers": ({"llama.block_count": 1000}, "block_count was 1000, and the file has 20 tensors in all"),
    "one layer more": ({"llama.block_count": 3}, "lacks the tensor blk.2.attn_norm.weight"),
    "one layer less": ({"llama.block_count": 1}, "holds 'blk.1.attn_k.weight', which the model has no place for"),
    "heads": ({"llama.attention.head_count_kv": 3}, "n_kv_head was 3; it must divide n_head = 4"),
    "kind": ({"llama.embedding_length": "32"}, "llama.embedding_length was '32'; it must be of type int"),
    "no width": ({"llama.feed_forward_length": None}, "lacks the field llama.feed_forward_length"),
    "no heads": ({"llama.attention.head_count": 0}, "n_head was 0; it must be an integer of at least 1"),
    "shape": ({"llama.feed_forward_length": 64}, r"blk.0.ffn_gate.weight has shape \(48, 32\); .* \(64, 32\)"),
}


@pytest.mark.parametrize(("fields", "message"), WRONG.values(), ids=WRONG)
def test_what_minilora_does_not_compute_is_refused(tmp_path, fields, message):
    save_gguf(tiny_llama(CONFIGS["grouped"]), tmp_path / "right.gguf", dtype="f32")
    changed(tmp_path / "right.gguf", tmp_path / "model.gguf", fields)
    with pytest.raises(ValueError, match=message) as error:
        load_gguf(tmp_path / "model.gguf")
    assert "model.gguf" in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_refused_by_its_name_in_the_file(tmp_path, value):
    save_gguf(tiny_llama(CONFIGS["grouped"]), tmp_path / "model.gguf", dtype="f32")
    weights = np.float32(GGUFFile(tmp_path / "model.gguf").tensors["blk.1.ffn_up.weight"].read()[3, 5]).tobytes()
    content = (tmp_path / "model.gguf").read_bytes()
    assert content.count(weights) == 1
    (tmp_path / "model.gguf").write_bytes(content.replace(weights, np.float32(value).tobytes()))
    with pytest.raises(ValueError, match="model.gguf: blk.1.ffn_up.weight has values that are infinite or NaN"):
        load_gguf(tmp_path / "model.gguf")


def test_a_window_as_long_as_the_context_is_no_window(tmp_path):
    save_gguf(tiny_llama(CONFIGS["grouped"]), tmp_path / "right.gguf", dtype="f32")
    changed(tmp_path / "right.gguf", tmp_path / "model.gguf", {"llama.attention.sliding_window": 32})
    assert isinstance(load_gguf(tmp_path / "model.gguf"), Llama)


def test_a_forgotten_order_of_the_rows_is_found(tmp_path, monkeypatch):
    model, ids = tiny_llama(CONFIGS["grouped"]), np.arange(12)[None]
    save_gguf(model, tmp_path / "model.gguf", dtype="f32")
    monkeypatch.setattr(gguf_place, "to_halves", lambda W, n: W)
    wrong = load_gguf(tmp_path / "model.gguf")
    assert np.abs(wrong.forward(ids)[0] - model.forward(ids)[0]).max() > 0.01


def test_every_parameter_has_a_place():
    for config in CONFIGS.values():
        model = tiny_llama(config)
        places = {place.parameter: place.shape for place in llama_places(config, permuted=True)}
        assert places == {name: p.data.shape for name, p in model.named_parameters()}
