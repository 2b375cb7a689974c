"""What save_hf writes is read again to the bit, and looks as transformers writes it; transformers itself reads it in
test_save_hf_peer.py.
"""

import json
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from interop.every_folder import FOLDERS, TEXTS
from interop.folders import GOLDEN
from methods.tiny import same_bits, tiny_gpt
from minilora import interop
from minilora.data import ByteTokenizer
from minilora.data.encoder_tokenizer import EncoderTokenizer
from minilora.interop import save_hf
from minilora.methods import LoRAConfig, apply_lora, merge_lora, remove_lora
from minilora.models import load_bundled
from models.tiny_encoders import ALL, tiny

NOT_OURS = {"transformers_version", "initializer_range", "use_cache", "legacy", "label2id"}


def weights_of(model):
    return {name: p.data for name, p in model.named_parameters()}


def assert_same(model, other):
    assert type(model) is type(other) and model.config == other.config
    assert same_bits(weights_of(model), weights_of(other))


@pytest.mark.parametrize("name", FOLDERS)
def test_what_goes_out_comes_in_again_to_the_bit_with_transformers_names(name, tmp_path):
    load = FOLDERS[name]
    model = load(GOLDEN / name, dtype="float64")
    save_hf(model, tmp_path / "out")
    assert_same(load(tmp_path / "out", dtype="float64"), model)
    ours, theirs = load_file(tmp_path / "out" / "model.safetensors"), load_file(GOLDEN / name / "model.safetensors")
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", FOLDERS)
def test_the_configuration_is_the_one_that_transformers_wrote(name, tmp_path):
    save_hf(FOLDERS[name](GOLDEN / name, dtype="float64"), tmp_path)
    ours, theirs = (json.loads((folder / "config.json").read_text()) for folder in (tmp_path, GOLDEN / name))
    if name == "llama/mistral":
        assert ours["architectures"] == ["LlamaForCausalLM"] and ours["model_type"] == "llama"
        ours |= {key: theirs[key] for key in ("architectures", "model_type")}
    special = {"bos_token_id", "eos_token_id", "max_position_embeddings", "max_relative_positions", "pos_att_type"}
    same = (ours.keys() & theirs.keys()) - NOT_OURS - special
    assert {"model_type", "architectures", "vocab_size", "dtype"} <= same
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


@pytest.mark.parametrize("model_class", ALL)
def test_every_encoder_goes_out_and_in(model_class, tmp_path):
    model = tiny(model_class, "float32")
    save_hf(model, tmp_path)
    load = interop.load_deberta if "Deberta" in model_class.__name__ else interop.load_roberta
    other = load(tmp_path)
    assert type(other) is model_class and same_bits(weights_of(model), weights_of(other))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_dtype_rounds_to_the_nearest(dtype, tmp_path):
    model = interop.load_llama(GOLDEN / "llama" / "tied", dtype="float64")
    save_hf(model, tmp_path, dtype=dtype)
    with safe_open(tmp_path / "model.safetensors", "numpy") as file:
        names = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {names[dtype]}
        assert file.metadata() == {"format": "pt"}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == dtype
    read = weights_of(interop.load_llama(tmp_path, dtype="float64"))
    error = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24, "float64": 0}[dtype]
    for name, values in weights_of(model).items():
        assert np.all(np.abs(read[name] - values) <= error * np.abs(values) + 1e-7), name


def test_the_model_s_own_dtype_is_the_default(tmp_path):
    save_hf(tiny_gpt("float32"), tmp_path)
    assert load_file(tmp_path / "model.safetensors")["transformer.wte.weight"].dtype == np.float32


# ---- adapters


def adapted(merge):
    model = tiny_gpt("float64")
    apply_lora(model, LoRAConfig(rank=2, targets=("q_proj", "fc_in")), rng=np.random.default_rng(0))
    for p in model.trainable_parameters():
        p.data += np.random.default_rng(1).standard_normal(p.data.shape)
    ids = np.arange(5)[None]
    logits, _ = model.forward(ids)
    if merge:
        merge_lora(model)
        remove_lora(model)
    return model, ids, logits


def test_a_merged_model_writes_the_merged_weights(tmp_path):
    model, ids, logits = adapted(merge=True)
    save_hf(model, tmp_path)
    assert np.abs(interop.load_gpt2(tmp_path, dtype="float64").forward(ids)[0] - logits).max() < 1e-12


def test_an_adapter_that_is_not_merged_is_refused_and_nothing_is_written(tmp_path):
    model, _, _ = adapted(merge=False)
    with pytest.raises(ValueError, match="an adapter must be saved by save_adapter, or merged and removed"):
        save_hf(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- what is wrong


@pytest.mark.parametrize(("value", "dtype"), [(np.inf, None), (np.nan, "float16"), (-np.inf, "bfloat16")])
def test_what_is_not_finite_is_not_written(value, dtype, tmp_path):
    model = tiny_gpt("float64")
    model.ln_f.gain.data[0] = value
    with pytest.raises(ValueError, match=re.escape("the model: ln_f.gain has values that are infinite or NaN")):
        save_hf(model, tmp_path / "out", dtype=dtype)
    assert not (tmp_path / "out").exists()


TOO_LARGE = [(7e4, "float16", "65504"), (-1e39, "float32", "3.4028e+38"), (3.4e38, "bfloat16", "3.3895e+38")]


@pytest.mark.parametrize(("value", "dtype", "most"), TOO_LARGE)
def test_what_a_dtype_cannot_hold_is_not_written(value, dtype, most, tmp_path):
    model = tiny_gpt("float64")
    model.ln_f.gain.data[0] = value
    message = f"ln_f.gain holds {abs(value):.4g}; in {dtype} a value must be at most {most}"
    with pytest.raises(ValueError, match=re.escape(message)):
        save_hf(model, tmp_path / "out", dtype=dtype)
    assert not (tmp_path / "out").exists()


def test_arguments_that_do_not_fit_are_refused(tmp_path):
    model = tiny_gpt("float32")
    with pytest.raises(ValueError, match="dtype was 'int8'; it must be one of 'float64', 'float32', 'float16', 'bflo"):
        save_hf(model, tmp_path, dtype="int8")
    with pytest.raises(ValueError, match="tokenizer and tokenizer_from were both given; it must be one of the two"):
        save_hf(model, tmp_path, tokenizer=ByteTokenizer(), tokenizer_from=tmp_path)
    with pytest.raises(ValueError, match="tokenizer_from was .*; it must be a folder with one of tokenizer.json"):
        save_hf(model, tmp_path, tokenizer_from=tmp_path)
    with pytest.raises(ValueError, match="chat_template was given without tokenizer"):
        save_hf(model, tmp_path, chat_template="x")
    with pytest.raises(TypeError, match="tokenizer was a str; it must be a ByteTokenizer"):
        save_hf(model, tmp_path, tokenizer="bytes")
    with pytest.raises(TypeError, match="model was a Linear; it must be one of GPT"):
        save_hf(model.blocks[0].mlp.fc_in, tmp_path)
    assert not any(tmp_path.iterdir())


def test_biases_that_no_model_of_transformers_has_are_refused(tmp_path):
    from minilora.models import Llama, LlamaConfig

    config = LlamaConfig(vocab_size=7, n_layer=1, d_model=4, n_head=2, n_positions=5, o_bias=True)
    with pytest.raises(ValueError, match="o_bias was True and qkv_bias False"):
        save_hf(Llama(config, np.random.default_rng(0)), tmp_path)


# ---- tokenizers


def test_a_tokenizer_that_does_not_know_what_ends_a_text_is_written_without_an_end(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    without = interop.HFTokenizer(tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1}, [])))
    save_hf(tiny_gpt("float32"), tmp_path, tokenizer=without)
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] is None
    assert "eos_token" not in json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert interop.load_tokenizer(tmp_path).encode("ab").tolist() == [0, 1]


def test_a_tokenizer_of_bytes_gives_the_same_ids_there(tmp_path):
    pytest.importorskip("tokenizers")
    save_hf(load_bundled(), tmp_path, tokenizer=ByteTokenizer(), dtype="float16")
    ours, theirs = ByteTokenizer(), interop.load_tokenizer(tmp_path)
    for text in (*TEXTS, "".join(map(chr, range(1, 0x250))), "<|endoftext|> Ā"):
        assert np.array_equal(ours.encode(text), theirs.encode(text)) and theirs.decode(theirs.encode(text)) == text
    assert theirs.end_of_text == ours.end_of_text == 0 and theirs.vocab_size == 256
    assert theirs.decode([104, 0]) == "h"


def test_an_encoder_s_tokenizer_of_bytes_gives_the_same_ids_there(tmp_path):
    pytest.importorskip("tokenizers")
    save_hf(load_bundled("encoder"), tmp_path, tokenizer=EncoderTokenizer(), dtype="float16")
    ours, theirs = EncoderTokenizer(), interop.load_tokenizer(tmp_path)
    for text in (*TEXTS, "".join(map(chr, range(0x250)))):
        assert np.array_equal(ours.encode(text), theirs.encode(text)) and theirs.decode(theirs.encode(text)) == text
        assert np.array_equal(ours.encode(text, "b"), theirs.encode(text, "b"))
    assert theirs.vocab_size == 260 and theirs.token_id("<mask>") == 3 and theirs.end_of_text == 2


def test_a_folder_s_tokenizer_is_copied_and_its_special_ids_are_kept(tmp_path):
    pytest.importorskip("tokenizers")
    from interop.make_tiny_folders import make_gpt2, make_llama

    for made, load in (
        (make_llama(tmp_path / "llama"), interop.load_llama),
        (make_gpt2(tmp_path / "gpt2", old_tokenizer=True), interop.load_gpt2),
    ):
        out = tmp_path / f"out {made.name}"
        save_hf(load(made), out, tokenizer_from=made)
        assert {path.name for path in out.iterdir()} == {path.name for path in made.iterdir()}
        before, after = (json.loads((folder / "config.json").read_text()) for folder in (made, out))
        assert after["eos_token_id"] == before["eos_token_id"] and after["bos_token_id"] == before["bos_token_id"]
        text = "The Eagle is 12\n"
        assert np.array_equal(interop.load_tokenizer(out).encode(text), interop.load_tokenizer(made).encode(text))


def test_a_tokenizer_of_any_origin_is_written_with_its_chat_template(tmp_path):
    pytest.importorskip("tokenizers")
    from interop.make_tiny_folders import TEMPLATE, make_llama

    made = make_llama(tmp_path / "llama")
    tokenizer = interop.load_tokenizer(made)
    save_hf(interop.load_llama(made), tmp_path / "out", tokenizer=tokenizer, chat_template=TEMPLATE)
    again = interop.load_tokenizer(tmp_path / "out")
    assert np.array_equal(again.encode("a 12 b"), tokenizer.encode("a 12 b")) and again.end_of_text == 2
    settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert settings["chat_template"] == TEMPLATE and settings["eos_token"] == "<|im_end|>"


def test_what_cannot_be_written_whole_leaves_nothing(tmp_path):
    (tmp_path / "config.json").mkdir()  # a folder is in the way of the last file
    with pytest.raises(IsADirectoryError, match="config.json is a folder"):
        save_hf(tiny_gpt("float32"), tmp_path, tokenizer=ByteTokenizer())
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
