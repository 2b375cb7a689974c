"""tokenizer.model, SentencePiece's own file, read without its package: a message in protobuf's wire format.

A message is a run of fields, each a key and a value. The key is 8 number + kind; it and every integer are in base 128,
the lowest digit first, and 128 is added to every digit but the last. By its kind a value is

    0  an integer        1  8 bytes        2  a length, and so many bytes        5  4 bytes

Here field 1 is a token, as often as there are tokens, field 2 says how they were trained, and field 3 how a text is
normalised before; the names below are those of sentencepiece_model.proto.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy

from minilora.interop.sentencepiece_bpe import BLANK, Pieces
from minilora.interop.tokenizer_parts import BYTE, NORMAL, USER_DEFINED
from minilora.limits import one_line_errors

MODEL = "tokenizer.model"
MOST_BYTES = 5 * 2**20  # Gemma's, with 262,144 tokens, has 4.7 MB
MOST_FIELDS = 300_000  # of a message
PIECES, TRAINER, NORMALIZER = 1, 2, 3
MODEL_TYPE, AS_SUFFIX = 3, 24  # of TRAINER
BOS, EOS = (41, 1), (42, 2)  # of TRAINER, with what they are if they are absent
CHARSMAP, DUMMY_PREFIX, REMOVE_EXTRA, ESCAPE = 2, 3, 4, 5  # of NORMALIZER
BPE = 2
KINDS = {1: "unigram", 3: "word", 4: "char"}
JSON = "make tokenizer.json with transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"


@one_line_errors()
def read_pieces(path: Path) -> tuple[Pieces, int | None, int | None]:
    """The tokens of a tokenizer.model, and the ids of those that begin and end a text, if it has them.

    Raises
    ------
    ValueError
        If it is damaged, or is no byte-pair encoding of the text as it stands.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; it must have at most {MOST_BYTES:,}")
    try:
        return _read(path)
    except (IndexError, KeyError, AttributeError, TypeError, OverflowError, struct.error, UnicodeDecodeError):
        raise ValueError(f"{path} is damaged: it is not a file of SentencePiece's") from None


def _read(path: Path) -> tuple[Pieces, int | None, int | None]:
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for number, value in fields(path.read_bytes()):
        if number == PIECES:
            pieces.append(_piece(dict(fields(value))))
        elif number == TRAINER:
            trainer |= fields(value)
        elif number == NORMALIZER:
            normalizer |= fields(value)
    if (kind := trainer.get(MODEL_TYPE, 1)) != BPE:
        raise ValueError(f"{path} is of the kind {KINDS.get(kind, 'unknown')}; it must be bpe: {JSON}")
    for differs, does in (
        (normalizer.get(CHARSMAP), "replaces characters"),
        (normalizer.get(REMOVE_EXTRA, 1), "removes blanks"),
        (not normalizer.get(ESCAPE, 1), "keeps blanks as they are"),
        (trainer.get(AS_SUFFIX, 0), "puts blanks behind words"),
    ):
        if differs:
            raise ValueError(f"{path} {does}, which minilora does not: {JSON}")
    tokens, scores, types = zip(*pieces, strict=True) if pieces else ((), (), ())
    if len(set(tokens)) < len(tokens) or not tokens:
        raise ValueError(f"{path} has {'a token twice' if tokens else 'no tokens'}; it must have each of them once")
    # a number below 0, of a token that there is not, is written as one above 2^63
    bos, eos = (i if (i := trainer.get(*edge)) < len(tokens) else None for edge in (BOS, EOS))
    first = bool(normalizer.get(DUMMY_PREFIX, 1))
    return Pieces(path, list(tokens), numpy.array(scores), numpy.array(types), blank_first=first), bos, eos


def _piece(piece: dict[int, Any]) -> tuple[str, float, int]:
    """A token, its score and its type."""
    (score,) = struct.unpack("<f", piece.get(2, bytes(4)))
    token, kind = piece.get(1, b"").decode(), piece.get(3, NORMAL)
    if not NORMAL <= kind <= BYTE:
        raise KeyError
    return token.replace(BLANK, " ") if kind == USER_DEFINED else token, score, kind  # it is found in the text as it is


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each field of a message: an int, or bytes."""
    at = n = 0
    while at < len(message):
        if (n := n + 1) > MOST_FIELDS:
            raise IndexError
        key, at = integer(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = integer(message, at)
            yield number, value
            continue
        length, at = integer(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + length > len(message):
            raise IndexError
        yield number, message[at : at + length]
        at += length


def integer(message: bytes, at: int) -> tuple[int, int]:
    """The integer that begins at a place of a message, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (message[at] & 127) << shift
        at += 1
        if message[at - 1] < 128:
            return value, at
    raise IndexError
