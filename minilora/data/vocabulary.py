"""Checks that a model and a tokenizer belong together: ids of one vocabulary mean nothing in another."""

from typing import Any, Protocol

import numpy as np


class Tokenizer(Protocol):
    """What turns text into ids and back.

    Attributes
    ----------
    vocab_size : int
        Ids are from 0 to vocab_size - 1.
    unused_rows : int
        How many more rows the embedding of a model of this tokenizer may have; 0 for bytes, whose models have none.
    end_of_text : int
        The id that stands after a text.
    """

    vocab_size: int
    unused_rows: int

    @property
    def end_of_text(self) -> int: ...

    def encode(self, text: str, /) -> np.ndarray: ...

    def decode(self, ids: Any, /) -> str: ...


def split_frame(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """The ids that a tokenizer puts before every text, and those that it puts after it; most put none.

    Llama 3's puts one before, its BOS; RoBERTa's makes <s> text </s>.

    Returns
    -------
    before, after : ndarray of shape (n,), int64
    """
    frame, framed = tokenizer.encode(""), tokenizer.encode("a")
    same = frame == framed[: len(frame)] if len(framed) >= len(frame) else np.zeros(len(frame), dtype=bool)
    n = len(frame) if same.all() else int(same.argmin())
    return frame[:n], frame[n:]


def encode_bare(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """The ids of a text alone, without what the tokenizer puts around every text: int64, shape (T,)."""
    (before, after), ids = split_frame(tokenizer), tokenizer.encode(text)
    return ids[len(before) : len(ids) - len(after)]


def check_vocabulary(model: Any, tokenizer: Tokenizer) -> None:
    """Raise ValueError unless a model understands the ids that a tokenizer makes.

    Parameters
    ----------
    model : Module
        Of any kind; ``model.config.vocab_size`` is what it reads.
    tokenizer : ByteTokenizer, EncoderTokenizer or HFTokenizer
    """
    V, known, kind = model.config.vocab_size, tokenizer.vocab_size, type(tokenizer).__name__
    if known <= V <= known + tokenizer.unused_rows:
        return
    most = f" to {known + tokenizer.unused_rows:,}" if tokenizer.unused_rows else ""
    raise ValueError(
        f"the model has a vocabulary of {V:,} ids, and the tokenizer ({kind}) one of {known:,}; the model's must be "
        f"{known:,}{most}: take the model's own tokenizer, or a model that was trained with this one"
    )
