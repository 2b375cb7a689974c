"""The tokenizer in a GGUF file: every way of cutting a text is llama.cpp's, and what is wrong is refused in a line."""

import numpy as np
import pytest

from interop.gguf_models import changed, config_of, tiny_llama
from interop.make_tiny_folders import make_llama
from llm import llama_cpp
from llm.cases import AWKWARD
from minilora.interop import chat_template_of, load_tokenizer, save_gguf
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_tokenizer import CUTS, KEY

needs_llama_cpp = pytest.mark.skipif(not llama_cpp.is_there(), reason=llama_cpp.REASON)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    folder = make_llama(tmp_path_factory.mktemp("tokenizer") / "folder")
    save_gguf(tiny_llama(config_of("grouped", folder)), folder / "model.gguf", like=folder)
    return folder / "model.gguf"


def with_fields(right, tmp_path, **fields):
    return changed(right, tmp_path / "model.gguf", {KEY + name: value for name, value in fields.items()})


@needs_llama_cpp
@pytest.mark.parametrize("name", CUTS)
def test_every_cut_of_a_text_is_that_of_llama_cpp(right, tmp_path, name):
    path = with_fields(right, tmp_path, pre=name)
    asked = [{"text": text, "control": control} for text in AWKWARD.values() for control in (True, False)]
    found = llama_cpp.ask(path, texts=asked)["texts"]
    tokenizer = load_tokenizer(path)
    assert [tokenizer.encode(a["text"], control=a["control"]).tolist() for a in asked] == found


@needs_llama_cpp
@pytest.mark.parametrize(("begins", "ends"), [(True, False), (False, True), (True, True)])
def test_the_frame_of_a_text_is_that_of_llama_cpp(right, tmp_path, begins, ends):
    path = with_fields(right, tmp_path, add_bos_token=begins, add_eos_token=ends)
    tokenizer, text = load_tokenizer(path), "The river"
    ids = tokenizer.encode(text)
    assert llama_cpp.ask(path, texts=[{"text": text, "control": True}])["texts"] == [ids.tolist()]
    assert np.array_equal(ids[int(begins) : len(ids) - int(ends)], tokenizer.encode(text, frame=False))


def test_a_text_has_no_frame_where_the_file_asks_for_none(right):
    tokenizer = load_tokenizer(right)
    assert tokenizer.encode("").tolist() == [] and tokenizer.decode(tokenizer.encode("The river")) == "The river"
    assert (tokenizer.bos, tokenizer.eos, tokenizer.end_of_text) == ("<|im_start|>", "<|im_end|>", 2)


WRONG = {
    "SentencePiece": ({"model": "llama"}, "scores must have a number for each of"),
    "model": ({"model": "bert"}, "model was 'bert'; it must be one of 'gpt2', 'llama'"),
    "no model": ({"model": None}, "lacks the field tokenizer.ggml.model"),
    "pre": ({"pre": "gemma4"}, "pre was 'gemma4'; it must be one of gpt-2, smollm"),
    "no tokens": ({"tokens": None}, "lacks the field tokenizer.ggml.tokens"),
    "no merges": ({"merges": None}, "lacks the field tokenizer.ggml.merges"),
    "tokens": ({"tokens": "a"}, "tokens was 'a'; it must be of type list"),
    "types": ({"token_type": "a"}, "token_type must have a number for each of"),
    "eos": ({"eos_token_id": 10**6}, "eos_token_id was 1000000; it must be from 0 to"),
}


@pytest.mark.parametrize(("fields", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_tokenizer_is_refused(right, tmp_path, fields, message):
    path = with_fields(right, tmp_path, **fields)
    with pytest.raises(ValueError, match=message) as error:
        load_tokenizer(path)
    assert "model.gguf" in str(error.value) and str(error.value).isprintable()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tokens", lambda tokens: [*tokens[:-1], tokens[5]], "tokens has a token twice"),
        ("merges", lambda merges: [*merges, "x"], "merges has 'x'; each must be two tokens that make one"),
        ("merges", lambda merges: [*merges, "x 東"], "merges has 'x 東'; each must be two tokens"),
    ],
)
def test_a_damaged_list_is_refused(right, tmp_path, name, change, message):
    path = with_fields(right, tmp_path, **{name: change(GGUFFile(right).fields[KEY + name])})
    with pytest.raises(ValueError, match=message):
        load_tokenizer(path)


def test_a_file_without_a_chat_template_has_none(right, tmp_path):
    assert "<|im_start|>" in chat_template_of(right)
    assert chat_template_of(changed(right, tmp_path / "model.gguf", {"tokenizer.chat_template": None})) is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"tokenizer_config.json": '{"chat_template": "a"}'}, "a"),
        ({"tokenizer_config.json": '{"chat_template": "a"}', "chat_template.jinja": "b"}, "b"),
        ({"tokenizer_config.json": '{"chat_template": [{"name": "default", "template": "c"}, {"name": "rag"}]}'}, "c"),
        ({"tokenizer_config.json": '{"chat_template": [{"name": "rag", "template": "c"}]}'}, None),
    ],
)
def test_the_chat_template_of_a_folder(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert chat_template_of(tmp_path) == expected


def test_a_chat_template_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 3}')
    with pytest.raises(ValueError, match="chat_template was 3; it must be a text"):
        chat_template_of(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="chat_template.jinja is not a text"):
        chat_template_of(tmp_path)
