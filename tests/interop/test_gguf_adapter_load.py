"""An adapter in llama.cpp's format comes in as it went out, and computes what llama.cpp computes; or it is refused."""

import json
import shutil

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from interop.folders import GOLDEN
from interop.gguf_models import CONFIGS, OPTIONS, adapted, changed, config_of, random_blocks, tiny_llama
from interop.make_tiny_folders import make_gpt2, make_llama
from llm import llama_cpp
from minilora.interop import gguf_place, load_gguf, load_gguf_adapter, load_gpt2, load_llama, load_peft
from minilora.interop.description import describe
from minilora.interop.gguf_adapter import save_gguf_adapter
from minilora.interop.gguf_blocks import BLOCKS, dequantize, type_name
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_save import save_gguf
from minilora.methods import LoRAConfig, apply_lora, lora_layers, save_adapter, set_adapter
from minilora.models import Roberta
from models.tiny_encoders import tiny

IDS = np.array([[1, 5, 2, 30, 7, 7, 9, 11, 39, 0, 3, 21]])
NAMES = {  # of a Llama's matrices: PEFT's, and llama.cpp's
    **{f"self_attn.{letter}_proj": f"attn_{letter}" for letter in "qkv"},
    "self_attn.o_proj": "attn_output",
    **{f"mlp.{name}_proj": f"ffn_{name}" for name in ("gate", "up", "down")},
}


def factors_of(model, name="default"):
    return {path: layer.adapters[name] for path, layer in lora_layers(model).items() if name in layer.adapters}


def same_change(model, other):
    """Whether two models have the same delta_W in the same layers."""
    ours, theirs = lora_layers(model), lora_layers(other)
    assert ours.keys() == theirs.keys()
    for path, layer in ours.items():
        assert np.allclose(layer.delta_W(), theirs[path].delta_W(), rtol=1e-6, atol=1e-7), path
        assert np.abs(layer.delta_W()).max() > 1e-3


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("config", ["grouped", "qwen2", "untied", "wide heads", "biased"])
def test_what_went_out_comes_in_and_goes_out_again(tmp_path, config, options):
    model, base = adapted(CONFIGS[config], **options), tiny_llama(CONFIGS[config])
    save_gguf_adapter(model, tmp_path / "one.gguf")
    load_gguf_adapter(base, tmp_path / "one.gguf")
    same_change(model, base)
    save_gguf_adapter(base, tmp_path / "two.gguf")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()
    if not options:
        for path, ours in factors_of(model).items():
            theirs = factors_of(base)[path]
            assert np.array_equal(ours.A.data, theirs.A.data) and np.array_equal(ours.B.data, theirs.B.data)
            assert ours.scale == theirs.scale == 2.0


GPT2_TARGETS = {
    "all": ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out"),
    "q and v": ("q_proj", "v_proj"),
    "k": ("k_proj",),
}


def gpt2(tmp_path, **options):
    """A tiny GPT-2, and the same with an adapter."""
    folder = make_gpt2(tmp_path / "folder") if not (tmp_path / "folder").exists() else tmp_path / "folder"
    base, model, rng = load_gpt2(folder), load_gpt2(folder), np.random.default_rng(1)
    apply_lora(model, LoRAConfig(**{"rank": 3, "alpha": 6} | options), rng=rng)
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = 0.1 * rng.standard_normal(p.data.shape)
    return base, model


@pytest.mark.parametrize("targets", GPT2_TARGETS.values(), ids=GPT2_TARGETS)
@pytest.mark.parametrize("ranks", [{}, {"rank_pattern": {"q_proj": 2}}], ids=["one rank", "ranks"])
def test_gpt2_s_fused_projection_is_split_into_what_was_joined(tmp_path, targets, ranks):
    if ranks and "q_proj" not in targets:
        ranks = {"rank_pattern": {"blocks.1.attn.k_proj": 2}}
    base, model = gpt2(tmp_path, targets=targets, **ranks)
    save_gguf_adapter(model, tmp_path / "one.gguf")
    load_gguf_adapter(base, tmp_path / "one.gguf")
    same_change(model, base)
    for path, ours in factors_of(model).items():
        assert np.array_equal(ours.A.data, factors_of(base)[path].A.data), path
    save_gguf_adapter(base, tmp_path / "two.gguf")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()


def test_one_lora_over_q_k_and_v_is_three_with_the_same_A(tmp_path):
    base = gpt2(tmp_path)[0]
    C, r, rng = base.config.d_model, 2, np.random.default_rng(0)
    A, B = rng.standard_normal((r, C)).astype("f4"), rng.standard_normal((3 * C, r)).astype("f4")
    write(tmp_path / "adapter.gguf", "gpt2", {"blk.1.attn_qkv.weight": (A, B)}, alpha=5.0)
    load_gguf_adapter(base, tmp_path / "adapter.gguf")
    assert list(factors_of(base)) == [f"blocks.1.attn.{letter}_proj" for letter in "qkv"]
    for j, factors in enumerate(factors_of(base).values()):
        assert np.array_equal(factors.A.data, A) and np.array_equal(factors.B.data, B[j * C : (j + 1) * C])
        assert factors.scale == 2.5


def write(path, architecture, pairs, alpha=6.0, fields=(), more=()):
    """An adapter's file; pairs of A and B by the name of their matrix, ndarrays or (bytes, type)."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    if alpha is not None:
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    for name, value in fields:
        writer.add_array(name, value)
    tensors = {f"{name}.lora_{letter}": t for name, pair in pairs.items() for letter, t in zip("ab", pair, strict=True)}
    for name, tensor in (tensors | dict(more)).items():
        data, kind = tensor if isinstance(tensor, tuple) else (tensor, None)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def converted(peft, path, architecture, config):
    """A PEFT adapter as convert_lora_to_gguf.py writes it: the rows of a head of q or k change their order for "llama",
    and lora_alpha is alpha, whatever the scale.
    """
    tensors, pairs = load_file(peft / "adapter_model.safetensors"), {}
    for i in range(config.n_layer):
        for theirs, name in NAMES.items():
            A, B = (tensors.get(f"base_model.model.model.layers.{i}.{theirs}.lora_{c}.weight") for c in "AB")
            if A is None:
                continue
            n = {"attn_q": config.n_head, "attn_k": config.n_kv_head}.get(name)
            if n and architecture == "llama":
                B = B.reshape(n, 2, B.shape[0] // n // 2, *B.shape[1:]).swapaxes(1, 2).reshape(B.shape)
            pairs[f"blk.{i}.{name}.weight"] = (A.astype("f4"), np.ascontiguousarray(B, "f4"))
    alpha = float(json.loads((peft / "adapter_config.json").read_text())["lora_alpha"])
    return write(path, architecture, pairs, alpha)


@pytest.mark.parametrize(("kind", "name"), [("llama", "default"), ("llama", "all_linear"), ("qwen2", "all_linear")])
def test_what_llama_cpp_converts_from_peft_is_peft_s(tmp_path, kind, name):
    model, other = (load_llama(GOLDEN / "peft" / kind) for _ in range(2))
    load_peft(other, GOLDEN / "peft" / kind / name)
    path = converted(GOLDEN / "peft" / kind / name, tmp_path / "adapter.gguf", kind, model.config)
    load_gguf_adapter(model, path, name="theirs")
    ours, expected = factors_of(model, "theirs"), factors_of(other)
    assert ours.keys() == expected.keys()
    for layer, factors in ours.items():
        assert np.array_equal(factors.A.data, expected[layer].A.data)
        assert np.array_equal(factors.B.data, expected[layer].B.data)
        assert factors.scale == (5 / 3 if name == "all_linear" and kind == "llama" else expected[layer].scale)  # rsLoRA


def test_rows_in_llama_cpp_s_order_would_be_found(tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_place, "to_halves", lambda W, n: W)
    with pytest.raises(AssertionError):
        test_what_llama_cpp_converts_from_peft_is_peft_s(tmp_path, "llama", "all_linear")
    with pytest.raises(AssertionError):
        test_what_went_out_comes_in_and_goes_out_again(tmp_path, "grouped", {})


@pytest.mark.parametrize("kind", [1, 8, 30], ids=type_name)
def test_factors_of_other_types(tmp_path, kind):
    rng, W = np.random.default_rng(0), (32, 32)
    if BLOCKS[kind].numbers > 1:
        A, B = (random_blocks(kind, W, rng) for _ in "AB")
    else:
        A, B = (rng.standard_normal(W).astype("f2").view("u1") for _ in "AB")
    of = gguf.GGMLQuantizationType(kind)
    write(tmp_path / "adapter.gguf", "llama", {"blk.0.attn_v.weight": ((A, of), (B, of))})
    model = tiny_llama(CONFIGS["plain"])
    load_gguf_adapter(model, tmp_path / "adapter.gguf")
    (factors,) = factors_of(model).values()
    assert np.array_equal(factors.A.data, dequantize(A.reshape(-1), kind, W))
    assert np.array_equal(factors.B.data, dequantize(B.reshape(-1), kind, W))


def test_it_is_an_ordinary_adapter_beside_others(tmp_path):
    model = adapted()
    save_gguf_adapter(model, tmp_path / "adapter.gguf")
    expected, _ = model.forward(IDS)
    load_gguf_adapter(model, tmp_path / "adapter.gguf", name="again")
    assert np.allclose(model.forward(IDS)[0], expected, atol=1e-6)
    assert {name.rpartition(".")[2] for name, p in model.named_parameters() if p.trainable} == {"A", "B"}
    set_adapter(model, None)
    assert np.array_equal(model.forward(IDS)[0], tiny_llama(CONFIGS["grouped"]).forward(IDS)[0])
    save_adapter(model, tmp_path / "adapter.safetensors", name="again")
    with pytest.raises(ValueError, match=r"adapter.gguf: name was 'again'"):
        load_gguf_adapter(model, tmp_path / "adapter.gguf", name="again")


# ---- what llama.cpp computes


def log_probabilities(model):
    logits = model.forward(IDS)[0][0, -1].astype("float64")
    logits = logits - logits.max()
    return logits - np.log(np.exp(logits).sum())


@pytest.mark.skipif(not llama_cpp.is_there(), reason=llama_cpp.REASON)
@pytest.mark.parametrize("alpha", [3.0, 0.0, None])
def test_llama_cpp_computes_the_same(tmp_path, alpha):
    """With two ranks; and without an alpha, for which its scale is 1."""
    folder, rng = make_llama(tmp_path / "folder"), np.random.default_rng(0)
    model = tiny_llama(config_of("grouped", folder))
    save_gguf(model, tmp_path / "model.gguf", like=folder, dtype="f32")
    pairs = {}
    for name, (O, I), r in (("attn_q", (32, 32), 2), ("ffn_down", (32, 48), 5)):
        A, B = rng.standard_normal((r, I)), 0.1 * rng.standard_normal((O, r))
        pairs[f"blk.1.{name}.weight"] = (A.astype("f4"), B.astype("f4"))
    write(tmp_path / "adapter.gguf", "llama", pairs, alpha)
    base = log_probabilities(model)
    load_gguf_adapter(model, tmp_path / "adapter.gguf")
    asked = {"logprobs": IDS.tolist(), "V": model.config.vocab_size}
    (found,) = llama_cpp.ask(tmp_path / "model.gguf", adapter=tmp_path / "adapter.gguf", **asked)["logprobs"]
    assert np.abs(np.array(found) - log_probabilities(model)).max() < 2e-3 < 0.05 < np.abs(np.array(found) - base).max()
    scales = {path: factors.scale for path, factors in factors_of(model).items()}
    assert list(scales.values()) == ([1.5, 0.6] if alpha else [1.0, 1.0])
    assert describe(tmp_path / "adapter.gguf")["norms"]["blk.1.attn_q"] == pytest.approx(
        np.linalg.norm(lora_layers(model)["blocks.1.attn.q_proj"].delta_W()), rel=1e-5
    )


# ---- what is refused


def array(*shape):
    return np.full(shape, 0.5, "f4")


Q = "blk.0.attn_q.weight"
PAIR = {Q: (array(2, 32), array(32, 2))}
FILES = {
    "another architecture": ({"architecture": "gpt2"}, "general.architecture was 'gpt2'; for this model it must be 'l"),
    "Qwen2's": ({"architecture": "qwen2"}, "general.architecture was 'qwen2'; for this model it must be 'llama'"),
    "a layer too many": (
        {"pairs": {"blk.2.attn_q.weight": PAIR[Q]}},
        "holds 'blk.2.attn_q.weight.lora_a', which the model has no place for",
    ),
    "a head that is tied": (
        {"pairs": {"output.weight": (array(2, 32), array(40, 2))}},
        "holds 'output.weight.lora_a', which the model has no place for",
    ),
    "a norm": ({"more": {"blk.0.attn_norm.weight": array(32)}}, "holds 'blk.0.attn_norm.weight'; .* end in .lora_a or"),
    "an embedding": ({"pairs": {"token_embd.weight": (array(40, 2), array(32, 2))}}, "minilora adapts no embedding"),
    "A without B": ({"more": {"blk.0.attn_v.weight.lora_a": array(2, 32)}}, "lacks the tensor 'blk.0.attn_v.weight.l"),
    "B without A": ({"more": {"blk.0.attn_v.weight.lora_b": array(32, 2)}}, "lacks the tensor 'blk.0.attn_v.weight.l"),
    "two ranks": (
        {"pairs": {Q: (array(2, 32), array(32, 3))}},
        r"lora_a has shape \(2, 32\) and .*lora_b \(32, 3\); they must be \(r, I\) and \(O, r\)",
    ),
    "a vector": ({"pairs": {Q: (array(32), array(32))}}, r"lora_a has shape \(32,\)"),
    "another width": (
        {"pairs": {Q: (array(2, 48), array(32, 2))}},
        r"A of shape \(2, 48\) and B of shape \(32, 2\) for blk.0.attn_q.weight, which is \(32, 32\) in the model",
    ),
    "NaN": ({"pairs": {Q: (array(2, 32) * np.nan, array(32, 2))}}, "NaN|finite"),
    "alpha": ({"alpha": float("nan")}, "adapter.lora.alpha was nan; it must be a finite number"),
    "no tensors": ({"pairs": {}}, "holds no tensors; it must hold A and B"),
    "after some tokens": (
        {"fields": [("adapter.alora.invocation_tokens", [1, 2])]},
        "has adapter.alora.invocation_tokens; minilora's adapters are active for every token",
    ),
}


@pytest.mark.parametrize(("options", "message"), FILES.values(), ids=FILES)
def test_what_does_not_fit_is_refused_and_the_model_is_unchanged(tmp_path, options, message):
    path, model = tmp_path / "adapter.gguf", tiny_llama(CONFIGS["plain"])
    write(path, **{"architecture": "llama", "pairs": PAIR} | options)
    with pytest.raises(ValueError, match=message) as error:
        load_gguf_adapter(model, path)
    assert str(path) in str(error.value) and str(error.value).isprintable()
    assert not lora_layers(model) and all(p.trainable for p in model.parameters())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"general.type": "model"}, "general.type was 'model'; it must be 'adapter'"),
        ({"general.type": None}, "lacks the field general.type"),
        ({"adapter.type": "control"}, "adapter.type was 'control'; it must be 'lora'"),
        ({"adapter.lora.alpha": "six"}, "adapter.lora.alpha was 'six'; it must be of type float"),
    ],
)
def test_what_is_no_lora_is_refused(tmp_path, fields, message):
    write(tmp_path / "right.gguf", "llama", PAIR)
    changed(tmp_path / "right.gguf", tmp_path / "adapter.gguf", fields)
    with pytest.raises(ValueError, match=message):
        load_gguf_adapter(tiny_llama(CONFIGS["plain"]), tmp_path / "adapter.gguf")


def test_a_model_and_an_encoder_are_refused(tmp_path):
    save_gguf(tiny_llama(CONFIGS["plain"]), tmp_path / "model.gguf")
    with pytest.raises(ValueError, match="general.type was 'model'; it must be 'adapter'"):
        load_gguf_adapter(tiny_llama(CONFIGS["plain"]), tmp_path / "model.gguf")
    write(tmp_path / "adapter.gguf", "llama", PAIR)
    with pytest.raises(ValueError, match="general.type was 'adapter'; it must be 'model'"):
        load_gguf(tmp_path / "adapter.gguf")
    with pytest.raises(TypeError, match="model was a Roberta; it must be a Llama or a GPT"):
        load_gguf_adapter(tiny(Roberta, "float32"), tmp_path / "adapter.gguf")


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path):
    content = write(tmp_path / "right.gguf", "llama", PAIR).read_bytes()
    model, path = tiny_llama(CONFIGS["plain"]), tmp_path / "adapter.gguf"
    for n in [*range(0, len(content) - 256, 37), len(content) - 1]:
        path.write_bytes(content[:n])
        with pytest.raises(ValueError, match=r"adapter.gguf (is cut|is not a GGUF file|lacks)"):
            load_gguf_adapter(model, path)
    shutil.copy(tmp_path / "right.gguf", path)
    load_gguf_adapter(model, path)
    assert GGUFFile(path).fields["adapter.type"] == "lora" and list(lora_layers(model)) == ["blocks.0.attn.q_proj"]
