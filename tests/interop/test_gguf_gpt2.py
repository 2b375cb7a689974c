"""A GPT-2 as GGUF: what is in the file, what comes back, what llama.cpp computes, and what is refused."""

import gguf
import numpy as np
import pytest

from interop.gguf_models import changed
from interop.make_tiny_folders import make_gpt2
from llm import llama_cpp
from minilora.interop import gguf_adapter, load_gguf, load_gpt2, load_tokenizer, save_gguf, save_gguf_adapter
from minilora.interop.gguf_file import GGUFFile
from minilora.methods import LoRAConfig, apply_lora, set_adapter

IDS = np.array([[1, 5, 2, 30, 7, 7, 9, 11, 39, 0, 3, 21]])
TOLERANCE = 2e-3  # llama.cpp's GELU and softmax are of float16
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")
OPTIONS = {
    "all": {"targets": ALL},
    "q and v": {"targets": ("q_proj", "v_proj")},
    "k": {"targets": ("k_proj",)},
    "rsLoRA": {"targets": ALL, "rslora": True},
    "ranks": {"targets": ALL, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 1, "fc_in": 5}},
}


@pytest.fixture
def folder(tmp_path):
    return make_gpt2(tmp_path / "folder", old_tokenizer=True)


def adapted(folder, **options):
    model, rng = load_gpt2(folder), np.random.default_rng(1)
    apply_lora(model, LoRAConfig(**{"rank": 3, "alpha": 6} | options), rng=rng)
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = 0.1 * rng.standard_normal(p.data.shape)
    return model


def log_probabilities(model):
    logits = model.forward(IDS)[0][0, -1].astype("float64")
    logits = logits - logits.max()
    return logits - np.log(np.exp(logits).sum())


def theirs(path, V, **more):
    return np.array(llama_cpp.ask(path, logprobs=IDS.tolist(), V=V, **more)["logprobs"][0])


def test_the_file_holds_what_the_folder_held(folder, tmp_path):
    model = load_gpt2(folder)
    save_gguf(model, tmp_path / "model.gguf", like=folder, dtype="f32")
    loaded = load_gguf(tmp_path / "model.gguf")
    assert np.array_equal(loaded.forward(IDS)[0], model.forward(IDS)[0])
    qkv = GGUFFile(tmp_path / "model.gguf").tensors["blk.1.attn_qkv.weight"].read()
    attn = model.blocks[1].attn
    assert np.array_equal(qkv, np.concatenate([attn.q_proj.W.data, attn.k_proj.W.data, attn.v_proj.W.data]))
    names = {t.name for t in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, 2)  # by GPT-2's own names
    for name in names:
        assert name.rpartition(".")[0] in {gguf_name for _, gguf_name in known.mapping.values()}
    ours, expected = load_tokenizer(tmp_path / "model.gguf"), load_tokenizer(folder)
    text = "The river is long. 1,234   12\n\n東京 é "
    assert ours.encode(text).tolist() == expected.encode(text).tolist()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_adapter_of_the_file_is_delta_W(folder, tmp_path, options):
    model = adapted(folder, **options)
    save_gguf_adapter(model, tmp_path / "adapter.gguf")
    file = GGUFFile(tmp_path / "adapter.gguf")
    assert file.fields["general.architecture"] == "gpt2"
    C, alpha = model.config.d_model, file.fields["adapter.lora.alpha"]
    for i, block in enumerate(model.blocks):
        A, B = (file.tensors[f"blk.{i}.attn_qkv.weight.lora_{letter}"].read() for letter in "ab")
        for j, letter in enumerate("qkv"):
            layer = getattr(block.attn, f"{letter}_proj")
            expected = layer.delta_W() if f"{letter}_proj" in options["targets"] else np.zeros((C, C))
            assert np.allclose(alpha / len(A) * B[j * C : (j + 1) * C] @ A, expected, atol=1e-6), letter
        if "fc_in" in options["targets"]:
            A, B = (file.tensors[f"blk.{i}.ffn_up.weight.lora_{letter}"].read() for letter in "ab")
            assert np.allclose(alpha / len(A) * B @ A, block.mlp.fc_in.delta_W(), atol=1e-6)


def test_one_scale_for_all_would_be_found(folder, tmp_path, monkeypatch):
    def mutant(parts, rows, rslora):  # scale of the first in place of scale r / alpha of each
        return gguf_adapter.Factors(*original(parts, rows, rslora)[:2], 6.0)

    original = gguf_adapter.join
    monkeypatch.setattr(gguf_adapter, "join", mutant)
    with pytest.raises(AssertionError):
        test_the_adapter_of_the_file_is_delta_W(folder, tmp_path, OPTIONS["all"])


@pytest.mark.skipif(not llama_cpp.is_there(), reason=llama_cpp.REASON)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_llama_cpp_computes_the_same(folder, tmp_path, options):
    model = adapted(folder, **options)
    expected = log_probabilities(model)
    save_gguf_adapter(model, tmp_path / "adapter.gguf")
    set_adapter(model, None)
    base = log_probabilities(model)
    save_gguf(model, tmp_path / "model.gguf", like=folder, dtype="f32")
    V = model.config.vocab_size
    found = theirs(tmp_path / "model.gguf", V, adapter=tmp_path / "adapter.gguf")
    assert np.abs(found - expected).max() < TOLERANCE < 0.01 < np.abs(found - base).max()
    if options is OPTIONS["all"]:
        assert np.abs(theirs(tmp_path / "model.gguf", V) - base).max() < TOLERANCE


WRONG = {
    "layers": ({"gpt2.block_count": 1000}, "block_count was 1000, and the file has 28 tensors in all"),
    "one layer more": ({"gpt2.block_count": 3}, "lacks the tensor blk.2.attn_norm.weight"),
    "positions": ({"gpt2.context_length": 99}, r"position_embd.weight has shape \(256, 32\); .* \(99, 32\)"),
    "heads": ({"gpt2.attention.head_count": 3}, "model.gguf: .*n_head"),
    "no epsilon": ({"gpt2.attention.layer_norm_epsilon": None}, "lacks the field gpt2.attention.layer_norm_epsilon"),
}


@pytest.mark.parametrize(("fields", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(folder, tmp_path, fields, message):
    save_gguf(load_gpt2(folder), tmp_path / "right.gguf", like=folder, dtype="f32")
    changed(tmp_path / "right.gguf", tmp_path / "model.gguf", fields)
    with pytest.raises(ValueError, match=message):
        load_gguf(tmp_path / "model.gguf")


@pytest.mark.parametrize("same", [True, False])
def test_a_copy_of_the_head_is_read_and_another_head_refused(folder, tmp_path, same):
    save_gguf(load_gpt2(folder), tmp_path / "right.gguf", like=folder, dtype="f32")
    head = GGUFFile(tmp_path / "right.gguf").tensors["token_embd.weight"].read().copy()
    head[3, 4] += 0.0 if same else 1.0
    with_head(tmp_path / "right.gguf", tmp_path / "model.gguf", head)
    if same:
        assert np.array_equal(load_gguf(tmp_path / "model.gguf").forward(IDS)[0], load_gpt2(folder).forward(IDS)[0])
        return
    with pytest.raises(ValueError, match="output.weight must be a copy of token_embd.weight, as GPT-2's head is tied"):
        load_gguf(tmp_path / "model.gguf")


def with_head(source, path, head):
    """A copy of a file, with one tensor more."""
    file, writer = GGUFFile(source), gguf.GGUFWriter(path, "gpt2")
    for name, value in file.fields.items():
        if name.startswith("gpt2."):
            writer.add_key_value(name, value, gguf.GGUFValueType(file.types[name][0]))
    for tensor in file.tensors.values():
        writer.add_tensor(tensor.name, tensor.read())
    writer.add_tensor("output.weight", head)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
