"""Bytes as tokens for an encoder: four special tokens, then the 256 bytes.

The layout is RoBERTa's: <s> text </s>, and for two texts <s> text </s></s> second </s>. The class is read at <s>.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minilora.data.tokenizer import utf8

SPECIALS = ("<s>", "<pad>", "</s>", "<mask>")
START, PAD, END, MASK = range(4)  # the first three ids are RoBERTa's too
FIRST_BYTE = len(SPECIALS)  # byte b is the token FIRST_BYTE + b


class EncoderTokenizer:
    """From text to ids and back. There are 260 tokens, and nothing to train."""

    vocab_size = FIRST_BYTE + 256
    unused_rows = 0
    end_of_text = END
    pad = PAD

    def encode(self, text: str, second: str | None = None) -> np.ndarray:
        """<s> text </s>, or, with a second text, <s> text </s></s> second </s>.

        Parameters
        ----------
        text, second : str

        Returns
        -------
        ids : ndarray of shape (T,), int64
        """
        parts: list[Any] = [[START], byte_tokens(text), [END]]
        if second is not None:
            parts += [[END], byte_tokens(second), [END]]
        return np.concatenate(parts, dtype=np.int64)

    def decode(self, ids: Any) -> str:
        """The text of some ids without padding; special tokens are written out, and invalid UTF-8 becomes U+FFFD.

        Parameters
        ----------
        ids : array_like of int, shape (T,)
            Each from 0 to 259.
        """
        ids = np.asarray(ids)
        if ids.ndim != 1 or not (ids.size == 0 or np.issubdtype(ids.dtype, np.integer)):
            raise ValueError(f"ids had shape {ids.shape} and dtype {ids.dtype}; they must be integers of shape (T,)")
        if ids.size and (ids.min() < 0 or ids.max() >= self.vocab_size):
            raise ValueError(f"ids ran from {ids.min()} to {ids.max()}; each must be from 0 to {self.vocab_size - 1}")
        pieces = (
            SPECIALS[token].encode() if token < FIRST_BYTE else bytes([token - FIRST_BYTE])
            for token in ids.tolist()
            if token != PAD
        )
        return b"".join(pieces).decode("utf-8", errors="replace")


def byte_tokens(text: str) -> np.ndarray:
    """The bytes of a text as tokens, without special ones: int64, shape (T,)."""
    return np.frombuffer(utf8(text), dtype=np.uint8).astype(np.int64) + FIRST_BYTE


def pad_rows(rows: Sequence[np.ndarray], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths as one array, filled up with padding, and a mask of the real tokens.

    Parameters
    ----------
    rows : sequence of ndarray of shape (T_n,), int64
        At least one.
    pad : int
        The tokenizer's id of padding.

    Returns
    -------
    ids : ndarray of shape (N, T), int64
    mask : ndarray of shape (N, T), bool
        True at real tokens.
    """
    if not rows:
        raise ValueError("rows is empty; a batch needs at least one")
    lengths = np.array([len(row) for row in rows])  # (N,)
    mask = np.arange(lengths.max()) < lengths[:, None]  # (N, T)
    ids = np.full(mask.shape, pad, dtype=np.int64)
    ids[mask] = np.concatenate(rows)
    return ids, mask
