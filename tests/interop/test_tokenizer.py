"""tokenizer.json through the package `tokenizers`; where it is not installed, only that the error says so."""

import builtins
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fuzz import run
from minilora.interop import load_tokenizer
from minilora.interop.tokenizer import AS_VALUES, MOST_VALUES

VOCAB = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "low": 4, "rank": 5, "adapts": 6, "models": 7, "<mask>": 8}
TOKENIZER = {
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
    "padding": None,
    "added_tokens": [
        {
            "id": VOCAB[token],
            "content": token,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    ],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {
        "type": "RobertaProcessing",
        "sep": ["</s>", 2],
        "cls": ["<s>", 0],
        "trim_offsets": True,
        "add_prefix_space": False,
    },
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": VOCAB, "unk_token": "<unk>"},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    return tmp_path


@pytest.fixture
def tokenizer(folder):
    pytest.importorskip("tokenizers", reason="needs the package tokenizers: pip install -e '.[hf]'")
    return load_tokenizer(folder)


def test_a_text_becomes_ids_with_the_special_tokens_around_it_and_is_not_truncated(tokenizer):
    ids = tokenizer.encode("low rank adapts models")
    assert ids.dtype == np.int64 and ids.tolist() == [0, 4, 5, 6, 7, 2]
    assert tokenizer.encode("a rank").tolist() == [0, 3, 5, 2]


def test_a_pair_becomes_one_row(tokenizer):
    assert tokenizer.encode("low rank", "models").tolist() == [0, 4, 5, 2, 2, 7, 2]


def test_ids_become_the_text_without_special_tokens(tokenizer):
    assert tokenizer.decode(tokenizer.encode("low rank adapts models")) == "low rank adapts models"
    assert tokenizer.decode(np.array([], dtype=int)) == ""


def test_a_row_that_no_token_has_is_no_text(tokenizer):
    ids = tokenizer.encode("low rank adapts models")
    unused = np.array([tokenizer.vocab_size, tokenizer.vocab_size + tokenizer.unused_rows - 1])
    assert tokenizer.decode(np.concatenate([unused, ids, unused])) == "low rank adapts models"
    assert tokenizer.decode(unused) == ""


def test_tokens_are_found_by_name(tokenizer):
    assert tokenizer.vocab_size == 9
    assert tokenizer.token_id("<mask>") == 8
    with pytest.raises(ValueError, match="token was '<eot>', which the tokenizer does not have"):
        tokenizer.token_id("<eot>")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[1, 2]], "ids had shape .1, 2. and dtype int64"),
        ([0.5], "ids had shape .1,. and dtype float64"),
        ([4, 1033], "ids ran from 4 to 1033; each must be from 0 to 1032"),
        ([-1], "ids ran from -1 to -1"),
    ],
)
def test_wrong_ids_are_refused(tokenizer, ids, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.decode(ids)


def test_what_is_no_text_is_refused(tokenizer):
    with pytest.raises(TypeError, match="text must be a str, not bytes"):
        tokenizer.encode(b"low")
    with pytest.raises(TypeError, match="second must be a str, not int"):
        tokenizer.encode("low", 3)


def test_a_damaged_tokenizer_is_named(tokenizer, folder):
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="tokenizer.json is not a readable tokenizer"):
        load_tokenizer(folder)


def test_a_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no file .*tokenizer.json"):
        load_tokenizer(tmp_path)


def test_without_the_package_the_error_says_what_to_install(monkeypatch, folder):
    original = builtins.__import__

    def without_tokenizers(name, *args, **options):
        if name == "tokenizers":
            raise ImportError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_tokenizers)
    with pytest.raises(RuntimeError, match="pip install 'tokenizers>=0.20'"):
        load_tokenizer(folder)


# ---- what ends a text


@pytest.mark.parametrize(
    ("files", "end"),
    [
        ({"tokenizer_config.json": {"eos_token": "</s>"}}, 2),
        ({"tokenizer_config.json": {"eos_token": {"content": "<pad>", "lstrip": False}}}, 1),
        ({"tokenizer_config.json": {}, "special_tokens_map.json": {"eos_token": "</s>"}}, 2),
        ({"config.json": {"eos_token_id": 2}}, 2),
        ({"config.json": {"eos_token_id": [1, 2]}}, 1),
        ({"tokenizer_config.json": {"eos_token": "</s>"}, "config.json": {"eos_token_id": 0}}, 2),
        ({}, None),
        ({"config.json": {"eos_token_id": 9}}, None),
        ({"config.json": {"eos_token_id": True}}, None),
        ({"tokenizer_config.json": {"eos_token": "no such"}}, None),
    ],
)
def test_the_end_of_text_is_what_the_folder_says(tokenizer, folder, files, end):
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    if end is None:
        with pytest.raises(ValueError, match="the tokenizer's folder does not say what ends a text"):
            _ = load_tokenizer(folder).end_of_text
    else:
        assert load_tokenizer(folder).end_of_text == end


# ---- vocab.json and merges.txt

TEXTS = ["low lower lowest", " a lower rank, and naïve 東京\n\n  models", "It's 1,234 </s><mask> <|endoftext|>"]


def write_byte_pairs(folder, model_type, special, **settings):
    """A vocabulary of bytes and a few merges, learned from TEXTS, in the two files that GPT-2 and RoBERTa came in."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs the package tokenizers: pip install -e '.[hf]'")
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS[:2] * 20, vocab_size=300, min_frequency=2, special_tokens=special)
    trained.save_model(str(folder))
    (folder / "config.json").write_text(
        json.dumps({"model_type": model_type, "eos_token_id": special.index(special[-1])})
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BYTE_PAIRS = {
    "gpt2": ("gpt2", ["<|endoftext|>"], {"eos_token": "<|endoftext|>"}),
    "gpt2 with a space": ("gpt2", ["<|endoftext|>"], {"eos_token": "<|endoftext|>", "add_prefix_space": True}),
    "roberta": ("roberta", ROBERTA, {"eos_token": "</s>"}),
}


@pytest.mark.parametrize(("model_type", "special", "settings"), BYTE_PAIRS.values(), ids=BYTE_PAIRS)
def test_a_vocabulary_and_merges_make_a_tokenizer(tmp_path, model_type, special, settings):
    tokenizer = load_tokenizer(write_byte_pairs(tmp_path, model_type, special, **settings))
    assert tokenizer.end_of_text == special.index(settings["eos_token"])
    for text in TEXTS[:2]:
        ids = tokenizer.encode(text)
        assert len(ids) < len(text.encode())  # merges are used
        assert tokenizer.decode(ids) == (" " + text if settings.get("add_prefix_space") and text[0] != " " else text)
    framed = tokenizer.encode("low", "rank").tolist()
    assert (framed[0], framed.count(2)) == (0, 3) if model_type == "roberta" else 0 not in framed


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "special", "settings"), BYTE_PAIRS.values(), ids=BYTE_PAIRS)
def test_its_ids_are_those_of_transformers(tmp_path, model_type, special, settings):
    transformers = pytest.importorskip("transformers")
    tokenizer = load_tokenizer(write_byte_pairs(tmp_path, model_type, special, **settings))
    theirs_class = transformers.RobertaTokenizerFast if model_type == "roberta" else transformers.GPT2TokenizerFast
    theirs = theirs_class.from_pretrained(tmp_path)
    for text in TEXTS:
        assert tokenizer.encode(text).tolist() == theirs(text)["input_ids"], text
    if model_type == "roberta":
        assert tokenizer.encode(*TEXTS[:2]).tolist() == theirs(*TEXTS[:2])["input_ids"]
    assert tokenizer.end_of_text == theirs.eos_token_id and tokenizer.vocab_size == len(theirs)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", "[]", "vocab.json holds a list; it must hold a JSON object"),
        ("vocab.json", '{"a": 1, "b": 1}', "vocab.json: its ids must be the integers from 0 to 1, each once"),
        ("vocab.json", '{"a": "x"}', "vocab.json: its ids must be the integers from 0 to 0, each once"),
        ("vocab.json", '{"a": 0}', "merges.txt are not a readable tokenizer"),
        ("merges.txt", "one two three\n", "merges.txt are not a readable tokenizer"),
    ],
)
def test_a_damaged_vocabulary_is_named(tmp_path, name, content, message):
    folder = write_byte_pairs(tmp_path, "gpt2", ["<|endoftext|>"])
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_tokenizer(folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on memory is Linux's")
@pytest.mark.parametrize("item", [b"[],", b"[0],", b'{"":0},', b'"a",', b'"\\u0001",'])
def test_a_large_file_that_is_no_tokenizer_is_refused_in_2_seconds_and_200_MB(tmp_path, item):
    pytest.importorskip("tokenizers", reason="needs the package tokenizers: pip install -e '.[hf]'")
    weight = sum(n * item.count(sign) for sign, n in AS_VALUES.items())
    (tmp_path / "tokenizer.json").write_bytes(b'{"model": [' + item * (MOST_VALUES // weight - 10) + b"[]]}")
    (tmp_path / "larger").mkdir()
    (tmp_path / "larger" / "tokenizer.json").write_bytes(b'{"model": [' + item * (30_000_000 // len(item)) + b"[]]}")
    for folder in (tmp_path, tmp_path / "larger"):
        size = (folder / "tokenizer.json").stat().st_size
        program = (
            "import time, tokenizers; from fuzz import run; from minilora.interop import load_tokenizer\n"
            f"run.limit_memory(run.BYTES + {size}); started = time.process_time()\n"
            f"try: load_tokenizer({str(folder)!r})\n"
            "except ValueError as error: print(time.process_time() - started); print(error)"
        )
        tests = Path(run.__file__).resolve().parents[1]
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tests)
        seconds, said = done.stdout.splitlines()
        assert float(seconds) < run.SECONDS and len(said) < run.CHARACTERS and str(folder) in said, done.stderr
