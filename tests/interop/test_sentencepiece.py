"""SentencePiece's byte-pair encoding: its own ids (tests/golden/make_sentencepiece.py), and llama.cpp's."""

import itertools
import json
import shutil

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="needs the package tokenizers: pip install -e '.[hf]'")
pytest.importorskip("gguf", reason="needs the package gguf: pip install -e '.[hf]'")

from cli.running import prints
from interop.folders import GOLDEN
from interop.gguf_models import changed, config_of, tiny_llama
from llm import llama_cpp
from minilora.data import TextStream
from minilora.interop import load_tokenizer, save_gguf, save_hf, sentencepiece_bpe
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_tokenizer import KEY

EXPECTED = json.loads((GOLDEN / "sentencepiece" / "expected.json").read_text())
BLANK = "▁"


def folder_of(kind, folder, **settings):
    """A folder with tokenizer.model, and tokenizer_config.json if there are settings."""
    folder.mkdir(exist_ok=True)
    shutil.copy(GOLDEN / "sentencepiece" / f"{kind}.model", folder / "tokenizer.model")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def plain_ids(tokenizer, texts):
    return [tokenizer.encode(text, frame=False, control=False).tolist() for text in texts]


@pytest.mark.parametrize("kind", ["llama", "no-bytes"])
def test_ids_are_those_of_sentencepiece(tmp_path, kind):
    tokenizer = load_tokenizer(folder_of(kind, tmp_path))
    for text, ids, expected in zip(
        EXPECTED["texts"], plain_ids(tokenizer, EXPECTED["texts"]), EXPECTED[kind], strict=True
    ):
        assert ids == expected, text


def test_the_text_comes_back_where_every_byte_is_a_token(tmp_path):
    tokenizer = load_tokenizer(folder_of("llama", tmp_path))
    for text, ids in zip(EXPECTED["texts"], EXPECTED["llama"], strict=True):
        assert tokenizer.decode(ids) == text


MUTANTS = {  # of the order of merges
    "by rising score": lambda merges: merges[::-1],
    "the shorter part first": lambda merges: sorted(merges, key=lambda m: len(m[0])),
    "one cut of each token": lambda merges: list({a + b: (a, b) for a, b in merges}.values()),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_another_order_of_merges_would_be_found(tmp_path, monkeypatch, mutant):
    original = sentencepiece_bpe.merges_of
    monkeypatch.setattr(sentencepiece_bpe, "merges_of", lambda pieces: mutant(original(pieces)))
    with pytest.raises(AssertionError):
        test_ids_are_those_of_sentencepiece(tmp_path, "llama")


def one_merge_at_a_time(pieces, text):
    """The tokens of a text, as the definition has it: the best pair, the first of equal ones, until there is none."""
    score = dict(zip(pieces.tokens, pieces.scores, strict=True))
    symbols = list(text.replace(" ", BLANK))
    while True:
        pairs = [(score[a + b], -i) for i, (a, b) in enumerate(itertools.pairwise(symbols)) if a + b in score]
        if not pairs:
            return symbols
        i = -max(pairs)[1]
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


def runs(lengths):
    """Tokens of one sign, all of one score, as Mistral's have, and a few others."""
    tokens = ["<unk>", BLANK, "x", "y", *(BLANK * n for n in lengths), f"{BLANK}x", f"x{BLANK}"]
    scores = np.array([0.0] * 4 + [-1e9] * len(lengths) + [-1.0, -2.0])
    return sentencepiece_bpe.Pieces("tokenizer", tokens, scores, np.array([2] + [1] * (len(tokens) - 1)), False)


@pytest.mark.parametrize(
    "lengths", [(*range(2, 15), 16), (2, 4, 8), (2, 3), (2, 3, 5), (2, 5), (3, 2, 6, 4, 7)], ids=str
)
def test_runs_of_one_sign_may_have_one_score(lengths):
    pieces, rng = runs(lengths), np.random.default_rng(0)
    tokenizer = sentencepiece_bpe.sentencepiece_bpe(pieces)
    texts = [" " * n + end for n in range(40) for end in ("", "x", "xy   ")]
    texts += ["".join(rng.choice(list("     xy"), 30)) for _ in range(100)]
    for text in texts:
        assert tokenizer.encode(text).tokens == one_merge_at_a_time(pieces, text), text


def test_the_shorter_part_of_a_run_first_would_be_found(monkeypatch):
    original = sentencepiece_bpe.merges_of
    monkeypatch.setattr(
        sentencepiece_bpe,
        "merges_of",
        lambda pieces: sorted(original(pieces), key=lambda m: (BLANK * 2 not in m[0] + m[1], len(m[0]))),
    )
    with pytest.raises(AssertionError):
        test_runs_of_one_sign_may_have_one_score((2, 3))


@pytest.mark.parametrize(
    ("settings", "first", "last"),
    [
        ({}, [1], []),
        ({"add_bos_token": False}, [], []),
        ({"add_eos_token": True}, [1], [2]),
        ({"bos_token": "</s>", "eos_token": {"content": "<s>"}, "add_eos_token": True}, [2], [1]),
    ],
)
def test_the_frame_of_a_folder(tmp_path, settings, first, last):
    tokenizer = load_tokenizer(folder_of("llama", tmp_path, **settings))
    text = "The river"
    assert tokenizer.encode(text).tolist() == [*first, *plain_ids(tokenizer, [text])[0], *last]
    assert tokenizer.end_of_text == (1 if "bos_token" in settings else 2)
    assert tokenizer.control_tokens == ["<unk>", "<s>", "</s>"]
    assert tokenizer.encode("</s>", frame=False).tolist() == [2] != plain_ids(tokenizer, ["</s>"])[0]


def test_a_text_begins_without_a_blank_where_the_folder_says_so(tmp_path):
    with_blank = load_tokenizer(folder_of("llama", tmp_path))
    without = load_tokenizer(folder_of("llama", tmp_path, add_prefix_space=False))
    assert plain_ids(without, [" The river"]) == plain_ids(with_blank, ["The river"]) != plain_ids(without, ["The r"])


def test_a_stream_that_goes_on_keeps_its_blanks(tmp_path):
    tokenizer = load_tokenizer(folder_of("llama", tmp_path))
    text = "The river is old, and the road is long. 東京 is a city"
    ids = tokenizer.encode(text).tolist()
    for n in range(1, len(ids)):
        stream = TextStream(tokenizer, after=ids[:n])
        added = "".join(stream.add(i) for i in ids[n:]) + stream.end()
        if "\ufffd" not in tokenizer.decode(ids[:n]):  # half a character was there before
            assert tokenizer.decode(ids[:n]) + added == text, n
    stream = TextStream(tokenizer)
    assert "".join(stream.add(i) for i in ids) + stream.end() == text


# ---- as GGUF


@pytest.fixture
def made(tmp_path):
    """A GGUF file with the tokenizer of a folder, and the folder."""
    folder = folder_of("llama", tmp_path / "folder")
    save_gguf(tiny_llama(config_of("grouped", folder, 5)), tmp_path / "model.gguf", like=folder)
    return tmp_path / "model.gguf", folder


TEXTS = [*EXPECTED["texts"], "<s>a</s> b", "<s> a", "</s></s>", "a<unk>b"]


def test_a_gguf_file_says_what_the_folder_says(made):
    path, folder = made
    ours, theirs = load_tokenizer(path), load_tokenizer(folder)
    assert (ours.vocab_size, ours.bos, ours.eos, ours.end_of_text) == (theirs.vocab_size + 5, "<s>", "</s>", 2)
    for text in TEXTS:
        assert ours.encode(text).tolist() == theirs.encode(text).tolist()
        assert ours.encode(text, control=False).tolist() == theirs.encode(text, control=False).tolist()
        assert ours.decode(ours.encode(text, control=False)) == text


@pytest.mark.skipif(not llama_cpp.is_there(), reason=llama_cpp.REASON)
@pytest.mark.parametrize(
    "fields",
    [{}, {"add_space_prefix": False}, {"add_bos_token": False, "add_eos_token": True}],
    ids=["as it is", "no blank", "frame"],
)
def test_ids_are_those_of_llama_cpp(made, tmp_path, fields):
    path = changed(made[0], tmp_path / "changed.gguf", {KEY + name: value for name, value in fields.items()})
    asked = [{"text": text, "control": control} for text in TEXTS for control in (True, False)]
    found = llama_cpp.ask(path, texts=asked)["texts"]
    tokenizer = load_tokenizer(path)
    for a, ids in zip(asked, found, strict=True):
        assert tokenizer.encode(a["text"], control=a["control"]).tolist() == ids, a


def test_a_file_without_the_ids_of_its_ends_has_llama_s(made, tmp_path):
    none = {KEY + name: None for name in ("bos_token_id", "eos_token_id", "add_bos_token", "add_eos_token")}
    tokenizer = load_tokenizer(changed(made[0], tmp_path / "changed.gguf", none))
    assert (tokenizer.bos, tokenizer.eos) == ("<s>", "</s>") and tokenizer.encode("").tolist() == [1]


def with_lists(made, path, change):
    """A copy of the GGUF file whose lists of tokens, scores and types `change` has changed."""
    names = ("tokens", "scores", "token_type")
    held = {name: list(GGUFFile(made[0]).fields[KEY + name]) for name in names}
    change(**held)
    return changed(
        made[0], path, {KEY + name: [getattr(v, "item", lambda v=v: v)() for v in held[name]] for name in names}
    )


def swap(tokens, scores, token_type, *, score=None, token=None, kind=None, at="er"):
    """Change what is said of a token."""
    i = tokens.index(at)
    scores[i] = scores[i] if score is None else score
    tokens[i] = tokens[i] if token is None else token
    token_type[i] = token_type[i] if kind is None else kind


def longer(tokens, scores, token_type):
    tokens[-1], token_type[-1] = "e" * 300, 1


WRONG = {
    "two with one score": (lambda **lists: swap(**lists, score=0.0), "the tokens '.*' and '.*' have one score, "),
    "not a number": (lambda **lists: swap(**lists, score=float("nan")), "must be finite numbers"),
    "a character that is no token": (
        lambda **lists: swap(**lists, at="h", token="[NO]", kind=5),
        "'h' of the token '.*' must be a token too",
    ),
    "an unused token": (
        lambda **lists: swap(**lists, kind=5),
        "the token 'er' is unused; minilora takes none",
    ),
    "a byte that is missing": (lambda **lists: swap(**lists, at="<0x41>", token="[NO]"), "tokens for 255 of 256 bytes"),
    "a token of 300 characters": (longer, "tokens are too long; they must have at most 256 characters each"),
    "a token twice": (lambda **lists: swap(**lists, token="e"), "tokens has a token twice; each must be there once"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_tokenizer_that_could_not_be_the_same_is_refused(made, tmp_path, change, message):
    path = with_lists(made, tmp_path / "changed.gguf", change)
    with pytest.raises(ValueError, match=message) as error:
        load_tokenizer(path)
    assert "changed.gguf" in str(error.value) and str(error.value).isprintable()


def test_scores_are_asked_for(made, tmp_path):
    with pytest.raises(ValueError, match="scores must have a number for each of 485 tokens"):
        load_tokenizer(changed(made[0], tmp_path / "changed.gguf", {KEY + "scores": None}))


# ---- tokenizer.model itself

TRAINER, NORMALIZER = b"\x12", b"\x1a"  # the keys of its messages; what is appended replaces what was there
APPENDED = {
    "unigram": (
        TRAINER + b"\x02\x18\x01",
        "is of the kind unigram; it must be bpe: make tokenizer.json with transformers",
    ),
    "blanks removed": (NORMALIZER + b"\x02\x20\x01", "removes blanks, which minilora does not: make tokenizer.json"),
    "characters replaced": (NORMALIZER + b"\x03\x12\x01x", "replaces characters, which minilora does not"),
    "blanks as they are": (NORMALIZER + b"\x02\x28\x00", "keeps blanks as they are, which minilora does not"),
    "blanks behind": (TRAINER + b"\x03\xc0\x01\x01", "puts blanks behind words, which minilora does not"),
    "a token twice": (b"\x0a\x03\x0a\x01e", "has a token twice; it must have each of them once"),
    "a type of 9": (b"\x0a\x05\x0a\x01e\x18\x09", "is damaged: it is not a file of SentencePiece's"),
    "an integer without end": (b"\x08" + b"\xff" * 20, "is damaged: it is not a file of SentencePiece's"),
    "a length beyond the end": (b"\x0a\x7f", "is damaged: it is not a file of SentencePiece's"),
    "a kind of field that is no more": (b"\x0b", "is damaged: it is not a file of SentencePiece's"),
    "an integer for a message": (b"\x08\x01", "is damaged: it is not a file of SentencePiece's"),
    "too large": (b"\x22\x80\x80\x80\x04" + bytes(2**23), "has 8,395,654 bytes; it must have at most 5,242,880"),
    "fields without end": (b"\x20\x01" * 400_000, "is damaged: it is not a file of SentencePiece's"),
}


@pytest.mark.parametrize(("more", "message"), APPENDED.values(), ids=APPENDED)
def test_a_file_that_minilora_does_not_compute_is_refused(tmp_path, more, message):
    path = folder_of("llama", tmp_path) / "tokenizer.model"
    path.write_bytes(path.read_bytes() + more)
    with pytest.raises(ValueError, match=message) as error:
        load_tokenizer(tmp_path)
    assert str(path) in str(error.value) and str(error.value).isprintable()


def test_an_empty_file_and_one_that_is_cut_are_refused(tmp_path):
    path = folder_of("llama", tmp_path) / "tokenizer.model"
    content = path.read_bytes()
    for n in (0, 1, 7, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:n])
        with pytest.raises(ValueError, match=r"tokenizer.model (is damaged|has no tokens|is of the kind unigram)"):
            load_tokenizer(tmp_path)


def test_added_tokens_are_refused(tmp_path):
    (folder_of("llama", tmp_path) / "added_tokens.json").write_text('{"<pad>": 480}')
    with pytest.raises(
        ValueError, match="added_tokens.json adds tokens to tokenizer.model, which minilora does not: make"
    ):
        load_tokenizer(tmp_path)


# ---- typed as a user would


def test_a_folder_with_tokenizer_model_generates_and_goes_out_again(tmp_path):
    source = folder_of("llama", tmp_path / "source")
    model = tiny_llama(config_of("untied", source))
    save_hf(model, tmp_path / "model", tokenizer_from=source)
    asked = ("generate", "The river", "--model", tmp_path / "model", "--max-tokens", 8)
    tokenizer = load_tokenizer(tmp_path / "model")
    answer = json.loads(prints(*asked, "--json"))["answer"]
    assert prints(*asked) == f"The river{answer}\n"
    ids = tokenizer.encode("The river").tolist()
    for _ in range(8):
        ids.append(int(np.argmax(model.forward(np.array([ids]))[0][0, -1])))
        if ids[-1] == tokenizer.end_of_text:
            break
    assert tokenizer.decode(ids) == f"The river{answer}"
    prints("export-gguf", "--model", tmp_path / "model", "--merged", "--dtype", "f32", "--out", tmp_path / "model.gguf")
    assert prints("generate", "The river", "--model", tmp_path / "model.gguf", "--max-tokens", 8) == prints(*asked)
