"""The tokenizer in a GGUF file: tokens, merges and types in the metadata, made into one of the package `tokenizers`.

Byte-pair encoding cuts a text into words, and merges the bytes of each word, pair by pair, in the order of the list of
merges. The list and the tokens are in the file; how a text is cut is only named there, and the names below are those
whose rules are written here. The ids are those of llama.cpp, which the tests compare.

SentencePiece's tokenizers ("llama": Llama 2, the first Mistral) merge by score, without words: `sentencepiece_bpe.py`.
"""

from typing import Any

import numpy

from minilora.interop.gguf_file import GGUFFile
from minilora.interop.hf_tokenizer import HFTokenizer
from minilora.interop.sentencepiece_bpe import Pieces, sentencepiece_bpe
from minilora.interop.tokenizer_parts import NORMAL, add_frame, add_tokens, require_tokenizers
from minilora.limits import shown

KEY = "tokenizer.ggml."
BYTE_LEVEL, SENTENCEPIECE = MODELS = ("gpt2", "llama")  # tokenizer.ggml.model

# A word is one of: a contraction; letters, with one sign or blank before them; digits; other signs, with a blank before
# them and line ends behind them; line ends, with the blanks before them; blanks, but for the last one before a word.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUTS = {  # by the name in tokenizer.ggml.pre; the first of several names of one rule is written
    "gpt-2": "bytes",
    "smollm": "digits",
    "qwen2": WORDS % "",
    "deepseek-r1-qwen": WORDS % "",
    "llama-bpe": WORDS % "{1,3}",
    "llama3": WORDS % "{1,3}",
    "llama-v3": WORDS % "{1,3}",
}
WHOLE_WORDS = ("llama-bpe", "llama3", "llama-v3")  # a word that is a token is that token, whatever the merges say


def pre_tokenizer(name: str, tokenizers: Any) -> Any:
    """What cuts a text into words, by its name in CUTS: a tokenizers.pre_tokenizers.PreTokenizer."""
    pre, cut = tokenizers.pre_tokenizers, CUTS[name]
    if cut == "bytes":  # GPT-2's rule, which the package has
        return pre.ByteLevel(add_prefix_space=False)
    if cut == "digits":  # each digit is a word, and then GPT-2's rule
        return pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
    split = pre.Split(tokenizers.Regex(cut), "isolated")
    return pre.Sequence([split, pre.ByteLevel(add_prefix_space=False, use_regex=False)])


def gguf_tokenizer(file: GGUFFile) -> HFTokenizer:
    """The tokenizer of a GGUF file.

    Raises
    ------
    ValueError
        If it has none, one of another kind, or a list is damaged.
    RuntimeError
        If the package `tokenizers` is not installed.
    """
    tokenizers = require_tokenizers(file.path)
    kind = file.get(f"{KEY}model", str)
    if kind not in MODELS:
        raise ValueError(f"{file.path}: {KEY}model was {shown(kind)}; it must be one of {', '.join(map(repr, MODELS))}")
    tokens, types = _tokens(file)
    if len(set(tokens)) < len(tokens):
        raise ValueError(f"{file.path}: {KEY}tokens has a token twice; each must be there once")
    if kind == SENTENCEPIECE:
        first = file.get(f"{KEY}add_space_prefix", bool, True)
        scores = _column(file, "scores", len(tokens))
        tokenizer, begins = sentencepiece_bpe(Pieces(file.path, tokens, scores, types, first)), True
    else:
        tokenizer, begins = _byte_level(file, tokens, tokenizers)
        add_tokens(tokenizer, tokens, types, tokenizers)
    if tokenizer.get_vocab_size() != len(tokens):
        raise ValueError(f"{file.path}: {KEY}tokens has tokens that minilora cannot tell apart")
    absent = {"bos": 1, "eos": 2} if kind == SENTENCEPIECE else {}
    bos, eos = (_special(file, edge, len(tokens), absent.get(edge)) for edge in ("bos", "eos"))
    first_id = bos if file.get(f"{KEY}add_bos_token", bool, begins) else None
    last_id = eos if file.get(f"{KEY}add_eos_token", bool, False) else None
    add_frame(tokenizer, first_id, last_id, tokenizers)
    return HFTokenizer(tokenizer, eos, bos)


def _byte_level(file: GGUFFile, tokens: list[str], tokenizers: Any) -> tuple[Any, bool]:
    """A tokenizer of byte-pair encoding, and whether its texts begin with a token if the file does not say so."""
    name = file.get(f"{KEY}pre", str, "gpt-2")
    if name not in CUTS:
        possible = ", ".join(CUTS)
        raise ValueError(f"{file.path}: {KEY}pre was {shown(name)}; it must be one of {possible}")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ", 1)) for merge in file.get(f"{KEY}merges", list)]
    if wrong := next((m for m in merges if len(m) != 2 or not {*m, "".join(m)} <= vocabulary.keys()), None):
        raise ValueError(
            f"{file.path}: {KEY}merges has {shown(' '.join(wrong))}; each must be two tokens that make one"
        )
    whole = name in WHOLE_WORDS
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges, ignore_merges=whole))
    tokenizer.pre_tokenizer = pre_tokenizer(name, tokenizers)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer, whole


def _tokens(file: GGUFFile) -> tuple[list[str], numpy.ndarray]:
    """The tokens of a file and their types."""
    tokens = file.get(f"{KEY}tokens", list)
    if f"{KEY}token_type" not in file.fields:
        return tokens, numpy.full(len(tokens), NORMAL)
    return tokens, _column(file, "token_type", len(tokens))


def _column(file: GGUFFile, name: str, n_tokens: int) -> numpy.ndarray:
    """A field with a number for each token."""
    column = file.fields.get(KEY + name)
    if not isinstance(column, numpy.ndarray) or column.shape != (n_tokens,):
        raise ValueError(f"{file.path}: {KEY}{name} must have a number for each of {n_tokens:,} tokens")
    return column


def _special(file: GGUFFile, edge: str, n_tokens: int, absent: int | None) -> int | None:
    """The id of the token that begins or ends a text; `absent` if the file names none."""
    if f"{KEY}{edge}_token_id" not in file.fields:
        return absent
    index = file.get(f"{KEY}{edge}_token_id", int)
    if not 0 <= index < n_tokens:
        raise ValueError(f"{file.path}: {KEY}{edge}_token_id was {index}; it must be from 0 to {n_tokens - 1}")
    return index
