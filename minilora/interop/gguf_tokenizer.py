"""The tokenizer in a GGUF file: tokens, merges and types in the metadata, made into one of the package `tokenizers`.

Byte-pair encoding cuts a text into words, and merges the bytes of each word, pair by pair, in the order of the list of
merges. The list and the tokens are in the file; how a text is cut is only named there, and the names below are those
whose rules are written here. The ids are those of llama.cpp, which the tests compare.

SentencePiece's tokenizers ("llama": Llama 2, the first Mistral) merge by score, without words, and are refused.
"""

from typing import Any

import numpy

from minilora.interop.gguf_file import GGUFFile
from minilora.interop.hf_tokenizer import HFTokenizer
from minilora.limits import shown

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # the types of tokens
KEY = "tokenizer.ggml."

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


def require_tokenizers(path: object) -> Any:
    """The package `tokenizers`; RuntimeError if it is not installed."""
    try:
        import tokenizers
    except ImportError:
        raise RuntimeError(
            f"{path} is read by the package tokenizers, which is not installed: pip install 'tokenizers>=0.20'"
        ) from None
    return tokenizers


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
    if kind != "gpt2":
        what = "SentencePiece's, which minilora does not read" if kind == "llama" else "unknown"
        raise ValueError(f"{file.path}: {KEY}model was {shown(kind)}, {what}; it must be 'gpt2', byte-pair encoding")
    name = file.get(f"{KEY}pre", str, "gpt-2")
    if name not in CUTS:
        possible = ", ".join(CUTS)
        raise ValueError(f"{file.path}: {KEY}pre was {shown(name)}; it must be one of {possible}")
    tokens, types = _tokens(file)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if len(vocabulary) < len(tokens):
        raise ValueError(f"{file.path}: {KEY}tokens has a token twice; each must be there once")
    merges = [tuple(merge.split(" ", 1)) for merge in file.get(f"{KEY}merges", list)]
    if wrong := next((m for m in merges if len(m) != 2 or not {*m, "".join(m)} <= vocabulary.keys()), None):
        raise ValueError(
            f"{file.path}: {KEY}merges has {shown(' '.join(wrong))}; each must be two tokens that make one"
        )
    model = tokenizers.models.BPE(vocabulary, merges, ignore_merges=name in WHOLE_WORDS)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer(name, tokenizers)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    for special in (True, False):
        kinds = (CONTROL, UNKNOWN) if special else (USER_DEFINED,)
        added = [
            tokenizers.AddedToken(token, normalized=False, special=special)
            for token, token_type in zip(tokens, types)
            if token_type in kinds and token
        ]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(added)
    if tokenizer.get_vocab_size() != len(tokens):
        raise ValueError(f"{file.path}: {KEY}tokens has tokens that minilora cannot tell apart")
    bos, eos = (_special(file, edge, len(tokens)) for edge in ("bos", "eos"))
    begins = file.get(f"{KEY}add_bos_token", bool, name in WHOLE_WORDS)
    ends = file.get(f"{KEY}add_eos_token", bool, False)
    frame = [(tokens[i], i) for i, used in ((bos, begins), (eos, ends)) if used and i is not None]
    if frame:
        first, last = (
            (tokens[bos] if begins and bos is not None else ""),
            (tokens[eos] if ends and eos is not None else ""),
        )
        template = [part for part in (first, "$A", last) if part]
        pair = [part for part in (first, "$A", last, first, "$B", last) if part]
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=template, pair=pair, special_tokens=frame
        )
    return HFTokenizer(tokenizer, eos, bos)


def _tokens(file: GGUFFile) -> tuple[list[str], numpy.ndarray]:
    """The tokens of a file and their types."""
    tokens = file.get(f"{KEY}tokens", list)
    types = file.fields.get(f"{KEY}token_type")
    if types is None:
        types = numpy.full(len(tokens), NORMAL)
    if not isinstance(types, numpy.ndarray) or types.shape != (len(tokens),):
        raise ValueError(f"{file.path}: {KEY}token_type must have a number for each of {len(tokens):,} tokens")
    return tokens, types


def _special(file: GGUFFile, edge: str, n_tokens: int) -> int | None:
    """The id of the token that begins or ends a text; None if the file names none."""
    if f"{KEY}{edge}_token_id" not in file.fields:
        return None
    index = file.get(f"{KEY}{edge}_token_id", int)
    if not 0 <= index < n_tokens:
        raise ValueError(f"{file.path}: {KEY}{edge}_token_id was {index}; it must be from 0 to {n_tokens - 1}")
    return index
