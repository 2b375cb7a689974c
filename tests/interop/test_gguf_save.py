"""What goes into a GGUF file besides the weights, what is refused, and that nothing half-written is left."""

import builtins
import json

import gguf
import numpy as np
import pytest

from interop.gguf_models import CONFIGS, OPTIONS, adapted, config_of, save_and_load, tiny_llama
from interop.make_tiny_folders import make_llama
from minilora.interop import load_tokenizer
from minilora.interop.chat_template_of import chat_template_of
from minilora.interop.gguf_adapter import save_gguf_adapter
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_load import load_gguf
from minilora.interop.gguf_place import to_neighbours
from minilora.interop.gguf_save import save_gguf
from minilora.methods import merge_lora, remove_lora, set_adapter, unmerge_lora
from minilora.models import Roberta
from models.tiny_encoders import tiny

IDS = np.arange(10)[None]


# ---- a whole model


def test_a_merged_model_is_what_it_computes(tmp_path):
    model = adapted()
    expected, _ = model.forward(IDS)
    merge_lora(model)
    loaded = save_and_load(model, tmp_path / "model.gguf", dtype="f32")
    assert np.allclose(loaded.forward(IDS)[0], expected, atol=1e-5)
    unmerge_lora(model)
    assert not np.allclose(loaded.forward(IDS)[0], tiny_llama(CONFIGS["grouped"]).forward(IDS)[0], atol=1e-2)


def test_a_merged_and_removed_adapter_is_written_and_a_switched_off_one_is_not(tmp_path):
    model = adapted()
    set_adapter(model, None)
    base = save_and_load(model, tmp_path / "base.gguf", dtype="f32")
    assert np.array_equal(base.forward(IDS)[0], tiny_llama(CONFIGS["grouped"]).forward(IDS)[0])
    model = adapted()
    merge_lora(model)
    remove_lora(model)
    loaded = save_and_load(model, tmp_path / "model.gguf", dtype="f32")
    assert np.array_equal(loaded.forward(IDS)[0], model.forward(IDS)[0])


def test_an_adapter_that_is_not_merged_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the model holds blocks.0.attn.k_proj.A, .*must be merged \(merge_lora\)"):
        save_gguf(adapted(), tmp_path / "model.gguf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("save", [save_gguf, save_gguf_adapter])
def test_another_model_is_refused(tmp_path, save):
    with pytest.raises(TypeError, match="model was a Roberta; it must be a Llama or a GPT"):
        save(tiny(Roberta, "float32"), tmp_path / "model.gguf")


def test_an_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dtype was 'q4_0'; it must be one of f32, f16, q8_0"):
        save_gguf(tiny_llama(CONFIGS["plain"]), tmp_path / "model.gguf", dtype="q4_0")


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (np.nan, "f32", "NaN|finite"),
        (np.inf, "q8_0", "finite"),
        (7e4, "f16", "blk.1.ffn_down.weight has a weight of 70000, too large for F16"),
        (7e4, "q8_0", None),
        (9e6, "q8_0", "blk.1.ffn_up.weight has a weight of 9e.06, too large for Q8_0"),
    ],
)
def test_a_weight_that_the_file_cannot_hold_leaves_the_old_file(tmp_path, value, dtype, message):
    model, path = tiny_llama(CONFIGS["grouped"]), tmp_path / "model.gguf"
    path.write_bytes(b"old")
    (model.blocks[1].mlp.down_proj if dtype == "f16" else model.blocks[1].mlp.up_proj).W.data[3, 4] = value
    if message is None:
        assert np.isfinite(save_and_load(model, path, dtype=dtype).blocks[1].mlp.up_proj.W.data).all()
        return
    with pytest.raises(ValueError, match=message):
        save_gguf(model, path, dtype=dtype)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["model.gguf"]


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "model.gguf").mkdir()
    with pytest.raises(IsADirectoryError, match="model.gguf is a folder; it must be a file"):
        save_gguf(tiny_llama(CONFIGS["plain"]), tmp_path / "model.gguf")


@pytest.mark.parametrize("save", [save_gguf, save_gguf_adapter])
def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch, save):
    original = builtins.__import__

    def without_gguf(name, *args, **options):
        if name == "gguf":
            raise ImportError(name)
        return original(name, *args, **options)

    model = adapted()
    if save is save_gguf:
        merge_lora(model)
    monkeypatch.setattr(builtins, "__import__", without_gguf)
    with pytest.raises(RuntimeError, match=r"gguf, which is not installed: pip install 'minilora\[hf\]'"):
        save(model, tmp_path / "model.gguf")


# ---- its tokenizer


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_the_tokenizer_and_the_template_of_a_folder_go_along(tmp_path, kind):
    folder = make_llama(tmp_path / "folder", kind=kind)
    model = tiny_llama(config_of("grouped", folder, 5))
    save_gguf(model, tmp_path / "model.gguf", like=folder)
    ours, theirs = load_tokenizer(tmp_path / "model.gguf"), load_tokenizer(folder)
    assert ours.vocab_size == theirs.vocab_size + 5 == model.config.vocab_size
    assert (ours.eos, ours.end_of_text, ours.bos) == (theirs.eos, theirs.end_of_text, theirs.bos)
    assert ours.control_tokens == theirs.control_tokens
    for text in ("The river is long. 1,234   12\n\n東京 é <|im_end|> ", "", "  def add(first):\n\treturn 1"):
        assert ours.encode(text).tolist() == theirs.encode(text).tolist()
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text))
    assert chat_template_of(tmp_path / "model.gguf") == chat_template_of(folder) is not None


def test_the_tokenizer_of_a_gguf_file_goes_along(tmp_path):
    folder = make_llama(tmp_path / "folder")
    model = tiny_llama(config_of("grouped", folder, 5))
    save_gguf(model, tmp_path / "first.gguf", like=folder)
    save_gguf(model, tmp_path / "second.gguf", like=tmp_path / "first.gguf")
    first, second = GGUFFile(tmp_path / "first.gguf"), GGUFFile(tmp_path / "second.gguf")
    assert first.types == second.types and list(first.tensors) == list(second.tensors)
    for name, value in first.fields.items():
        assert np.array_equal(value, second.fields[name]), name


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    folder = make_llama(tmp_path / "folder")
    with pytest.raises(ValueError, match="like was .*folder, whose tokenizer has .* tokens; .* at most the model's 40"):
        save_gguf(tiny_llama(CONFIGS["plain"]), tmp_path / "model.gguf", like=folder)


def test_a_tokenizer_without_a_name_in_llama_cpp_is_refused(tmp_path):
    folder = make_llama(tmp_path / "folder")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits"}]}
    content["pre_tokenizer"]["pretokenizers"][1]["individual_digits"] = True
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="folder: the tokenizer cuts texts in a way .* must be that of gpt-2, smollm"):
        save_gguf(tiny_llama(config_of("grouped", folder, 0)), tmp_path / "model.gguf", like=folder)


# ---- an adapter


def scales_of(path):
    file = GGUFFile(path)
    return file.fields["adapter.lora.alpha"], {n: t.read() for n, t in file.tensors.items()}


def delta_of(tensors, alpha, name):
    A, B = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
    return alpha / len(A) * B @ A


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("config", ["grouped", "qwen2", "untied"])
def test_the_adapter_of_a_file_is_delta_W(tmp_path, options, config):
    model = adapted(CONFIGS[config], **options)
    save_gguf_adapter(model, tmp_path / "adapter.gguf")
    alpha, tensors = scales_of(tmp_path / "adapter.gguf")
    file = GGUFFile(tmp_path / "adapter.gguf")
    assert file.fields["general.type"] == "adapter" and file.fields["adapter.type"] == "lora"
    assert file.fields["general.architecture"] == ("qwen2" if config == "qwen2" else "llama")
    names = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output"}
    assert len(tensors) == 2 * 7 * 2
    for i, block in enumerate(model.blocks):
        for letter, name in names.items():
            expected = getattr(block.attn, f"{letter}_proj").delta_W()
            if config != "qwen2" and letter in "qk":
                expected = to_neighbours(expected, 4 if letter == "q" else model.config.n_kv_head)
            assert np.allclose(delta_of(tensors, alpha, f"blk.{i}.{name}.weight"), expected, atol=1e-6), (i, name)
        for part in ("gate", "up", "down"):
            expected = getattr(block.mlp, f"{part}_proj").delta_W()
            assert np.allclose(delta_of(tensors, alpha, f"blk.{i}.ffn_{part}.weight"), expected, atol=1e-6)


def test_a_named_adapter_is_written_whichever_is_active(tmp_path):
    model = adapted()
    save_gguf_adapter(model, tmp_path / "one.gguf")
    set_adapter(model, None)
    with pytest.raises(ValueError, match=r"name was None; .* adapters are \['default'\], and it must be a LoRA"):
        save_gguf_adapter(model, tmp_path / "two.gguf")
    save_gguf_adapter(model, tmp_path / "two.gguf", name="default")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()


def test_dora_is_refused_with_the_reason(tmp_path):
    model = adapted(dora=True)
    with pytest.raises(ValueError, match="DoRA's, which rescales the rows of W; .* merge it, and"):
        save_gguf_adapter(model, tmp_path / "adapter.gguf")
    merge_lora(model)
    loaded = save_and_load(model, tmp_path / "model.gguf", dtype="f32")
    assert np.array_equal(loaded.forward(IDS)[0], model.forward(IDS)[0])


def test_what_is_trained_besides_A_and_B_is_refused(tmp_path):
    model = adapted(CONFIGS["qwen2"], besides=("bias",))
    with pytest.raises(ValueError, match="also trains .*bias; llama.cpp's adapters must have A and B only"):
        save_gguf_adapter(model, tmp_path / "adapter.gguf")
    merge_lora(model)
    assert load_gguf(save(model, tmp_path / "model.gguf")).config.qkv_bias


def save(model, path):
    save_gguf(model, path, dtype="f32")
    return path


def test_gguf_reads_an_adapter(tmp_path):
    save_gguf_adapter(adapted(), tmp_path / "adapter.gguf")
    reader = gguf.GGUFReader(tmp_path / "adapter.gguf")
    assert {t.name for t in reader.tensors} >= {"blk.0.attn_q.weight.lora_a", "blk.1.ffn_down.weight.lora_b"}
    assert all(t.tensor_type == gguf.GGMLQuantizationType.F32 for t in reader.tensors)
