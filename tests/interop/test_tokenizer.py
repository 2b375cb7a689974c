"""tokenizer.json through the package `tokenizers`; where it is not installed, only that the error says so."""

import builtins
import json

import numpy as np
import pytest

from minilora.interop import load_tokenizer

VOCAB = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "low": 4, "rank": 5, "adapts": 6, "models": 7, "<mask>": 8}
TOKENIZER = {
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
    "padding": None,
    "added_tokens": [
        {"id": VOCAB[token], "content": token, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
        for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    ],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True,
        "add_prefix_space": False,
    },
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": VOCAB, "unk_token": "<unk>"},
}  # fmt: skip


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
        ([4, 9], "ids ran from 4 to 9; each must be from 0 to 8"),
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
    with pytest.raises(ValueError, match="tokenizer.json is no tokenizer that can be read"):
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
