"""Bytes as tokens: the smallest tokenizer that can write any text."""

from typing import Any

import numpy as np

EOT = 0  # end of text, and the padding of short rows in a batch: no text contains this byte


class ByteTokenizer:
    """From text to its UTF-8 bytes and back. There are 256 tokens, and nothing to train."""

    vocab_size = 256
    unused_rows = 0
    end_of_text = EOT

    def encode(self, text: str) -> np.ndarray:
        """The UTF-8 bytes of a text.

        Parameters
        ----------
        text : str
            Any text without the NUL character, whose byte is EOT.

        Returns
        -------
        ids : ndarray of shape (T,), int64
        """
        data = utf8(text)
        if EOT in data:
            raise ValueError(
                f"text has a NUL character at position {text.index(chr(EOT))}; its byte, 0, is the end of text"
            )
        return np.frombuffer(data, dtype=np.uint8).astype(np.int64)  # (T,)

    def decode(self, ids: Any) -> str:
        """The text of some ids, up to the first EOT; invalid UTF-8 becomes U+FFFD.

        Parameters
        ----------
        ids : array_like of int, shape (T,)
            Each from 0 to 255.
        """
        ids = np.asarray(ids)
        if ids.ndim != 1:
            raise ValueError(f"ids must have one axis, (T,), not the shape {ids.shape}")
        if ids.size == 0:
            return ""
        if not np.issubdtype(ids.dtype, np.integer):
            raise TypeError(f"ids must be integers, not {ids.dtype}")
        if ids.min() < 0 or ids.max() >= self.vocab_size:
            raise ValueError(f"ids must be from 0 to 255; they run from {ids.min()} to {ids.max()}")
        text, _, _ = ids.astype(np.uint8).tobytes().partition(bytes([EOT]))
        return text.decode("utf-8", errors="replace")


def utf8(text: str) -> bytes:
    """The UTF-8 bytes of a text; raises if it is not a str or has a lone surrogate, which UTF-8 lacks."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"text cannot be written in UTF-8: {error.reason} at position {error.start}") from None
