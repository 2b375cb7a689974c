"""A Hugging Face folder's tokenizer as metadata of a GGUF file: tokens, their types, and merges or scores."""

import json
from pathlib import Path
from typing import Any

import numpy

from minilora.interop.chat_template_of import FIELD, chat_template_of
from minilora.interop.gguf_file import ARRAY, BOOL, FLOAT32, INT32, STRING, UINT32
from minilora.interop.gguf_tokenizer import BYTE_LEVEL, CUTS, KEY, SENTENCEPIECE, WHOLE_WORDS, pre_tokenizer
from minilora.interop.hf_tokenizer import HFTokenizer
from minilora.interop.tokenizer import folder_pieces, is_sentencepiece, load_tokenizer
from minilora.interop.tokenizer_parts import CONTROL, NORMAL, UNUSED, USER_DEFINED, require_tokenizers

LOWEST_SCORE = -10000.0  # of a token that no merge makes

Fields = list[tuple[str, Any, int, int | None]]


def folder_vocabulary(folder: Path) -> Fields:
    """The tokenizer and the chat template of a Hugging Face folder, as fields of a GGUF file's metadata.

    Raises
    ------
    ValueError
        If the tokenizer is neither a byte-level one nor SentencePiece's, or llama.cpp has no name for how it cuts a
        text.
    """
    tokenizer = load_tokenizer(folder)
    first, last = _frame(tokenizer)
    fields: Fields = [
        *(_scored(folder) if is_sentencepiece(folder) else _byte_level(folder, tokenizer)),
        (f"{KEY}add_bos_token", first, BOOL, None),
        (f"{KEY}add_eos_token", last, BOOL, None),
    ]
    for edge, token in (("bos", tokenizer.bos), ("eos", tokenizer.eos)):
        if token:
            fields.append((f"{KEY}{edge}_token_id", tokenizer.token_id(token), UINT32, None))
    if template := chat_template_of(folder):
        fields.append((FIELD, template, STRING, None))
    return fields


def _byte_level(folder: Path, tokenizer: HFTokenizer) -> Fields:
    """Tokens and merges."""
    content = json.loads(tokenizer.tokenizer.to_str())
    if content["model"].get("type") != "BPE":
        raise ValueError(f"{folder}: the tokenizer is {content['model'].get('type')}; it must be byte-pair encoding")
    name = _name_of(content, folder)
    added = {entry["id"]: entry for entry in content["added_tokens"]}
    tokens = [tokenizer.tokenizer.id_to_token(i) for i in range(tokenizer.vocab_size)]
    if None in tokens:
        raise ValueError(f"{folder}: the tokenizer has no token {tokens.index(None)}; its ids must follow one another")
    types = [NORMAL if i not in added else CONTROL if added[i]["special"] else USER_DEFINED for i in range(len(tokens))]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]]
    return [
        (f"{KEY}model", BYTE_LEVEL, STRING, None),
        (f"{KEY}pre", name, STRING, None),
        (f"{KEY}tokens", tokens, ARRAY, STRING),
        (f"{KEY}token_type", types, ARRAY, INT32),
        (f"{KEY}merges", merges, ARRAY, STRING),
    ]


def _scored(folder: Path) -> Fields:
    """Tokens and scores."""
    pieces, *_ = folder_pieces(folder)
    return [
        (f"{KEY}model", SENTENCEPIECE, STRING, None),
        (f"{KEY}pre", "default", STRING, None),
        (f"{KEY}tokens", pieces.tokens, ARRAY, STRING),
        (f"{KEY}scores", pieces.scores.tolist(), ARRAY, FLOAT32),
        (f"{KEY}token_type", pieces.types.tolist(), ARRAY, INT32),
        (f"{KEY}add_space_prefix", pieces.blank_first, BOOL, None),
    ]


def padded(fields: Fields, V: int, like: object) -> Fields:
    """The fields with as many tokens as the model's embedding has rows: unused ones are added at the end.

    Raises
    ------
    ValueError
        If the tokenizer has more tokens than the model.
    """
    held = {name: i for i, (name, *_) in enumerate(fields)}
    if f"{KEY}tokens" not in held:
        return fields
    n = len(fields[held[f"{KEY}tokens"]][1])
    if n > V:
        raise ValueError(f"like was {like}, whose tokenizer has {n:,} tokens; it must have at most the model's {V:,}")
    unused: list[Any] = [f"[PAD{i}]" for i in range(n, V)]
    padding = {
        f"{KEY}tokens": unused,
        f"{KEY}token_type": [UNUSED] * (V - n),
        f"{KEY}scores": [LOWEST_SCORE] * (V - n),
    }
    return [
        (name, [*value, *padding[name]] if name in padding else value, kind, items)
        for name, value, kind, items in fields
    ]


def _name_of(content: dict[str, Any], folder: Path) -> str:
    """llama.cpp's name for how a tokenizer cuts a text."""
    tokenizers = require_tokenizers(folder)
    merged_whole = bool(content["model"].get("ignore_merges"))
    for name in CUTS:
        probe = tokenizers.Tokenizer(tokenizers.models.BPE())
        probe.pre_tokenizer = pre_tokenizer(name, tokenizers)
        ours = json.loads(probe.to_str())["pre_tokenizer"]
        if _core(ours) == _core(content["pre_tokenizer"]) and merged_whole == (name in WHOLE_WORDS):
            return name
    raise ValueError(
        f"{folder}: the tokenizer cuts texts in a way that minilora has no name of llama.cpp's for; it must be that of "
        f"{', '.join(CUTS)}"
    )


def _core(rule: Any) -> Any:
    """What of a pre-tokenizer changes the ids."""
    if not isinstance(rule, dict):
        return rule
    if rule.get("type") == "Sequence" and len(rule["pretokenizers"]) == 1:
        return _core(rule["pretokenizers"][0])
    return {
        k: [_core(r) for r in v] if isinstance(v, list) else _core(v) for k, v in rule.items() if k != "trim_offsets"
    }


def _frame(tokenizer: Any) -> tuple[bool, bool]:
    """Whether a text is framed by the token that begins texts, and by that which ends them."""
    ids = tokenizer.encode("a")
    plain = tokenizer.encode("a", frame=False)
    begins = bool(tokenizer.bos) and ids[0] == tokenizer.token_id(tokenizer.bos)
    ends = bool(tokenizer.eos) and ids[-1] == tokenizer.token_id(tokenizer.eos)
    if not numpy.array_equal(ids[int(begins) : len(ids) - int(ends)], plain):
        raise ValueError("the tokenizer puts more around a text than the tokens that begin and end it")
    return begins, ends
