"""A tokenizer's files for transformers' AutoTokenizer: of bytes, written from scratch; of a folder, copied.

Bytes need no merges. Byte-level byte-pair encoding (GPT-2's) writes each byte as one of 256 printable characters, cuts
a text into words, and merges pairs within them; without a merge, the tokens are the bytes, whatever the cuts.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

from minilora.data.encoder_tokenizer import END, FIRST_BYTE, PAD, SPECIALS, START, EncoderTokenizer
from minilora.data.tokenizer import EOT, ByteTokenizer
from minilora.files import read_json
from minilora.interop.hf_folder import CONFIG
from minilora.interop.sentencepiece_file import MODEL
from minilora.interop.tokenizer import ADDED, MERGES, MOST_BYTES, SETTINGS, VOCAB, WHOLE, HFTokenizer

COPIED: tuple[str, ...] = (WHOLE, SETTINGS, VOCAB, MERGES, "special_tokens_map.json", ADDED)
COPIED += (MODEL, "chat_template.jinja", "generation_config.json")
IDS = ("bos_token_id", "eos_token_id", "pad_token_id")  # of config.json
NUL = "\0"  # the end of a text of bytes, as a token: what no text contains


def tokenizer_files(tokenizer: Any, longest: float, chat_template: str | None = None) -> dict[str, Any]:
    """The files of a tokenizer, by name, and under "config.json" the fields that belong there.

    A text that contains a special token's name, such as "<mask>", is read there as that token, which minilora's
    EncoderTokenizer reads as bytes; every other text has the same ids.

    Parameters
    ----------
    tokenizer : ByteTokenizer, EncoderTokenizer or HFTokenizer
    longest : float
        The most tokens that the model reads.
    chat_template : str, optional

    Raises
    ------
    TypeError
        If the tokenizer is of another kind.
    """
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    settings |= {"model_max_length": int(longest)} if longest < 10**9 else {}
    ids: dict[str, int]
    if isinstance(tokenizer, ByteTokenizer):
        content = json.dumps(_byte_level({NUL: EOT}, first=0))
        settings |= {"bos_token": NUL, "eos_token": NUL}
        ids = {"bos_token_id": EOT, "eos_token_id": EOT}
    elif isinstance(tokenizer, EncoderTokenizer):
        content = json.dumps(_byte_level(dict(zip(SPECIALS, range(FIRST_BYTE), strict=True)), FIRST_BYTE, framed=True))
        start, pad, end, mask = SPECIALS
        settings |= {"bos_token": start, "cls_token": start, "eos_token": end, "sep_token": end}
        settings |= {"pad_token": pad, "mask_token": mask}
        ids = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
    elif isinstance(tokenizer, HFTokenizer):
        content = tokenizer.tokenizer.to_str()
        ids = {}
        with contextlib.suppress(ValueError):  # it does not know what ends a text
            ids = {"eos_token_id": tokenizer.end_of_text}
            settings |= {"eos_token": tokenizer.tokenizer.id_to_token(tokenizer.end_of_text)}
    else:
        kind = type(tokenizer).__name__
        raise TypeError(f"tokenizer was a {kind}; it must be a ByteTokenizer, an EncoderTokenizer or an HFTokenizer")
    if chat_template is not None:
        settings["chat_template"] = chat_template
    return {WHOLE: content + "\n", SETTINGS: json.dumps(settings, indent=1) + "\n", CONFIG: ids}


def copied_files(folder: Path) -> dict[str, Any]:
    """The tokenizer's files in a folder, by name, and under "config.json" the special tokens' ids in its config.json.

    Raises
    ------
    ValueError
        If it holds no tokenizer, or a file is larger than a tokenizer's.
    """
    files: dict[str, Any] = {}
    for path in (folder / name for name in COPIED):
        if path.is_file():
            if (size := path.stat().st_size) > MOST_BYTES:
                raise ValueError(f"{path} has {size:,} bytes; it must have at most {MOST_BYTES:,}")
            files[path.name] = path.read_bytes()
    if not files:
        raise ValueError(f"tokenizer_from was {folder}; it must be a folder with one of {', '.join(COPIED[:4])}")
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    return files | {CONFIG: {name: config[name] for name in IDS if name in config}}


def _byte_level(special: dict[str, int], first: int, *, framed: bool = False) -> dict[str, Any]:
    """tokenizer.json of single bytes.

    Parameters
    ----------
    special : dict of str to int
        The special tokens and their ids.
    first : int
        The id of byte 0. A byte whose id is a special token's has no token of its own.
    framed : bool
        Whether a text is read as <s> text </s>, and two as <s> text </s></s> second </s>.
    """
    taken = set(special.values())
    vocabulary = special | {sign: first + i for i, sign in enumerate(byte_signs()) if first + i not in taken}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    frame = {
        "type": "RobertaProcessing",
        "sep": [SPECIALS[END], END],
        "cls": [SPECIALS[START], START],
        "trim_offsets": False,
        "add_prefix_space": False,
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token} | flags for token, i in special.items()],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": frame if framed else None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def byte_signs() -> list[str]:
    """The printable character that stands for each of the 256 bytes: itself, or else the next one from U+0100 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (chr(0x100 + i) for i in range(256))
    return [chr(byte) if byte in printable else next(others) for byte in range(256)]
