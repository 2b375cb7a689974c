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
