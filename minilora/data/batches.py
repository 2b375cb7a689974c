"""From texts and examples to arrays of token ids.

A batch pairs each token with the one that follows it, and a mask says which of the followers count in the
loss.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minilora.data.example import Example
from minilora.data.vocabulary import Tokenizer, split_frame

SEPARATOR = "\n"  # between the source and the target of an example


class LMBatch(NamedTuple):
    """N rows of T tokens, and what should follow each.

    Attributes
    ----------
    ids : ndarray of shape (N, T), int64
        What the model reads.
    targets : ndarray of shape (N, T), int64
        targets[n, t] is the token that follows ids[n, t].
    loss_mask : ndarray of shape (N, T), bool
        True where the loss counts.
    text_lengths : tuple of tuple of int, optional
        For each row, the lengths of the texts that it holds one after another, which add up to T: a text is read by
        itself, from position 0. If not given, a row is one text. See `packing.pack_batch`.
    """

    ids: np.ndarray
    targets: np.ndarray
    loss_mask: np.ndarray
    text_lengths: tuple[tuple[int, ...], ...] | None = None

    @property
    def n_targets(self) -> int:
        """Over how many targets the loss is a mean."""
        return int(self.loss_mask.sum())


def encode_documents(texts: Iterable[str], tokenizer: Tokenizer) -> np.ndarray:
    """The tokens of all texts in one array, with the tokenizer's end of text after each: int64, shape (T,).

    If the tokenizer puts a token before every text (a BOS), each has it.
    """
    _, after = split_frame(tokenizer)
    encoded = (tokenizer.encode(text) for text in texts)
    rows = [np.append(ids[: len(ids) - len(after)], tokenizer.end_of_text) for ids in encoded]
    if not rows:
        raise ValueError("texts is empty; there is nothing to encode")
    return np.concatenate(rows)


def window_batch(tokens: np.ndarray, rng: np.random.Generator, *, batch_size: int, length: int) -> LMBatch:
    """Windows from random positions in an array of tokens, for training a language model; every token counts.

    Parameters
    ----------
    tokens : ndarray of shape (T,), int64
        At least length + 1 of them.
    rng : numpy.random.Generator
    batch_size, length : int
        The batch's N and T.
    """
    check_at_least_one(batch_size=batch_size, length=length)
    if len(tokens) < length + 1:
        raise ValueError(f"tokens must hold at least length + 1 = {length + 1} tokens, not {len(tokens)}")
    starts = rng.integers(0, len(tokens) - length, size=batch_size)  # (N,)
    places = starts[:, None] + np.arange(length)  # (N, T)
    return LMBatch(tokens[places], tokens[places + 1], np.ones(places.shape, dtype=bool))


def windows(tokens: np.ndarray, *, length: int, batch_size: int, end_of_text: int) -> Iterator[LMBatch]:
    """Consecutive windows, in order, for evaluation: each token is a target that counts exactly once.

    The first token follows an end of text. The last window is padded, with a mask that is False there.

    Parameters
    ----------
    tokens : ndarray of shape (T,), int64
        At least one.
    length, batch_size : int
        Tokens in a window, and windows in a batch (fewer in the last).
    end_of_text : int
        The tokenizer's.
    """
    check_at_least_one(length=length, batch_size=batch_size)
    if len(tokens) == 0:
        raise ValueError("tokens is empty; there is nothing to evaluate")
    n_windows = -(-len(tokens) // length)  # rounded up
    n_padding = n_windows * length - len(tokens)
    before = np.append(end_of_text, tokens[:-1])  # before[t] is the token that tokens[t] follows
    ids = np.pad(before, (0, n_padding), constant_values=end_of_text).reshape(n_windows, length)
    targets = np.pad(tokens, (0, n_padding), constant_values=end_of_text).reshape(n_windows, length)
    mask = (np.arange(n_windows * length) < len(tokens)).reshape(n_windows, length)
    for start in range(0, n_windows, batch_size):
        rows = slice(start, start + batch_size)
        yield LMBatch(ids[rows], targets[rows], mask[rows])


def encode_example(example: Example, tokenizer: Tokenizer) -> tuple[np.ndarray, int]:
    """The tokens of source, line break, target and end of text, and how many of them precede the target.

    If the tokenizer puts a token before every text (a BOS), the source has it, and the target has not. Source and
    target are encoded one by one, as they are when the model gets the source alone and continues it.

    Returns
    -------
    ids : ndarray of shape (T,), int64
    n_source : int
        The length of the prompt: ids[:n_source] is the source and the line break.
    """
    before, after = split_frame(tokenizer)
    source, target = (tokenizer.encode(text) for text in (example.source + SEPARATOR, example.target))
    source, target = source[: len(source) - len(after)], target[len(before) : len(target) - len(after)]
    return np.concatenate((source, target, [tokenizer.end_of_text])), len(source)


def pair_batch(examples: Sequence[Example], tokenizer: Tokenizer, *, max_length: int) -> LMBatch:
    """Examples as rows, padded to the longest. The loss counts on the target and its end of text only.

    That is the objective of the paper's equation 2: the sum over t of log p(y_t | x, y_<t), where x, the
    source, is read but not predicted.

    Parameters
    ----------
    examples : sequence of Example
        At least one.
    tokenizer : Tokenizer
    max_length : int
        The most tokens that an example may have, including its end of text.
    """
    if not examples:
        raise ValueError("examples is empty; a batch needs at least one")
    encoded = [encode_example(example, tokenizer) for example in examples]
    longest = max(len(tokens) for tokens, _ in encoded)
    if longest > max_length:
        raise ValueError(
            f"an example has {longest} tokens, more than max_length = {max_length}; "
            "shorten its source or target, or raise the limit"
        )
    # the line break, the last of the source, is followed by the target
    return row_batch(((ids, np.arange(len(ids)) >= n) for ids, n in encoded), padding=tokenizer.end_of_text)


def row_batch(rows: Iterable[tuple[np.ndarray, np.ndarray]], *, padding: int) -> LMBatch:
    """Rows of different lengths as a batch, padded to the longest.

    Parameters
    ----------
    rows : iterable of (ids, counts)
        Both of shape (T,), T at least 2: a row's tokens, and which of them count where they are predicted.
    padding : int
        The token that fills a short row, where no loss counts.
    """
    rows = list(rows)
    shape = (len(rows), max(len(ids) for ids, _ in rows) - 1)  # (N, T): the last token of a row is only a target
    ids = np.full(shape, padding, dtype=np.int64)
    targets = np.full(shape, padding, dtype=np.int64)
    mask = np.zeros(shape, dtype=bool)
    for n, (tokens, counts) in enumerate(rows):
        length = len(tokens) - 1
        ids[n, :length] = tokens[:-1]
        targets[n, :length] = tokens[1:]
        mask[n, :length] = counts[1:]
    return LMBatch(ids, targets, mask)


def check_at_least_one(**sizes: int) -> None:
    """Raise ValueError, naming the argument, unless each size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, not {size}")
