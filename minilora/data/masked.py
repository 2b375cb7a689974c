"""Masked bytes: what an encoder is pretrained on (Devlin et al., 2019, with new masks at every step, as in RoBERTa).

15 % of the bytes are to be predicted. Of those, 80 % are replaced by <mask>, 10 % by a random byte, and 10 % are left
unchanged, so that the model cannot rely on <mask> to know which bytes to predict.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from minilora.data.batches import check_at_least_one
from minilora.data.encoder_tokenizer import END, FIRST_BYTE, MASK, PAD, START, EncoderTokenizer, byte_tokens, pad_rows

CHOSEN, MASKED, RANDOM = 0.15, 0.8, 0.1  # the fraction of all bytes; the fractions of those that are replaced


class MaskedBatch(NamedTuple):
    """N rows of T tokens with some of them hidden, and what was there.

    Attributes
    ----------
    ids : ndarray of shape (N, T), int64
        What the model reads.
    padding_mask : ndarray of shape (N, T), bool
        True at real tokens, False at padding.
    targets : ndarray of shape (N, T), int64
        The tokens before any were hidden.
    loss_mask : ndarray of shape (N, T), bool
        True where the loss counts: at the chosen bytes.
    """

    ids: np.ndarray
    padding_mask: np.ndarray
    targets: np.ndarray
    loss_mask: np.ndarray

    @property
    def n_targets(self) -> int:
        """Over how many targets the loss is a mean."""
        return int(self.loss_mask.sum())


def encode_text_rows(texts: Iterable[str]) -> np.ndarray:
    """The bytes of all texts in one array of tokens, with </s> after each text: int64, shape (T,)."""
    rows = [np.append(byte_tokens(text), END) for text in texts]
    if not rows:
        raise ValueError("texts is empty; there is nothing to encode")
    return np.concatenate(rows)


def hide(targets: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Choose bytes to predict, and hide most of them.

    Parameters
    ----------
    targets : ndarray of shape (N, T), int64
        Tokens; special ones are never chosen.
    rng : numpy.random.Generator

    Returns
    -------
    ids : ndarray of shape (N, T), int64
    counted : ndarray of shape (N, T), bool
        True at the chosen bytes.
    """
    counted = (targets >= FIRST_BYTE) & (rng.random(targets.shape) < CHOSEN)  # (N, T)
    fate = rng.random(targets.shape)
    random_bytes = rng.integers(FIRST_BYTE, EncoderTokenizer.vocab_size, targets.shape)
    ids = np.where(counted & (fate < MASKED), MASK, targets)
    ids = np.where(counted & (fate >= MASKED) & (fate < MASKED + RANDOM), random_bytes, ids)
    return ids, counted


def masked_window_batch(tokens: np.ndarray, rng: np.random.Generator, *, batch_size: int, length: int) -> MaskedBatch:
    """Windows from random positions in an array of tokens, each as <s> window </s>, with new masks.

    Parameters
    ----------
    tokens : ndarray of shape (T,), int64
        From `encode_text_rows`; at least length - 2 of them.
    rng : numpy.random.Generator
    batch_size, length : int
        The batch's N and T; <s> and </s> are two of the T.
    """
    check_at_least_one(batch_size=batch_size)
    check_length(length)
    if len(tokens) < length - 2:
        raise ValueError(f"tokens must hold at least length - 2 = {length - 2} tokens, not {len(tokens)}")
    starts = rng.integers(0, len(tokens) - (length - 2) + 1, batch_size)
    return masked_batch([tokens[start : start + length - 2] for start in starts], rng)


def masked_windows(tokens: np.ndarray, *, length: int, batch_size: int, seed: int = 0) -> Iterator[MaskedBatch]:
    """Consecutive windows, in order, for evaluation, with the same masks at every call.

    Parameters
    ----------
    tokens : ndarray of shape (T,), int64
        From `encode_text_rows`; at least one.
    length, batch_size : int
        Tokens in a window, <s> and </s> included, and windows in a batch (fewer in the last).
    seed : int
        Draws the masks.
    """
    check_at_least_one(batch_size=batch_size)
    check_length(length)
    if len(tokens) == 0:
        raise ValueError("tokens is empty; there is nothing to evaluate")
    rng = np.random.default_rng(seed)
    windows = [tokens[start : start + length - 2] for start in range(0, len(tokens), length - 2)]
    for i in range(0, len(windows), batch_size):
        yield masked_batch(windows[i : i + batch_size], rng)


def masked_batch(windows: list[np.ndarray], rng: np.random.Generator) -> MaskedBatch:
    """Windows as rows <s> window </s>, padded to the longest, with some of their bytes hidden."""
    targets, padding_mask = pad_rows([np.concatenate(([START], window, [END])) for window in windows], PAD)
    ids, loss_mask = hide(targets, rng)
    return MaskedBatch(ids, padding_mask, targets, loss_mask)


def check_length(length: int) -> None:
    """Raise ValueError unless <s>, </s> and a byte fit."""
    if length < 3:
        raise ValueError(f"length must be at least 3 (<s>, a byte and </s>), not {length}")
