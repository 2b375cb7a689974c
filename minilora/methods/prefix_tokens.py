"""The tokens of a prefix: their ids, their learned activations, and how a batch or a prompt gets them."""

from collections.abc import Callable
from typing import Any

import numpy

from minilora.arrays.backend import Array, get_xp, on_host
from minilora.layers import Embedding
from minilora.models.model import lowest_to_differentiate
from minilora.models.recompute import backward_block
from minilora.ops.fast import prefix_backward, prefix_forward
from minilora.parameter import Module


class Prefix(Module):
    """The tokens of a prefix, and how to insert them into a batch or a prompt.

    Parameters
    ----------
    tables : list of Embedding, each (lp + li, C)
        P_0, or P_0 to P_(L-1).
    n_before, n_after : int
        lp and li.
    vocab_size : int
        V.
    """

    def __init__(self, tables: list[Embedding], n_before: int, n_after: int, vocab_size: int) -> None:
        self.tables = tables
        self.n_before = n_before
        self.n_after = n_after
        self.vocab_size = vocab_size

    @property
    def length(self) -> int:
        """lp + li: how many tokens longer a sequence becomes."""
        return self.n_before + self.n_after

    def forward(self, x: Array, ids: Array, stage: int) -> tuple[Array, Any]:
        """(N, T, C) -> (N, T, C): x with this stage's own activations at the positions of the prefix."""
        if stage >= len(self.tables):
            return x, None
        slots = get_xp(ids=ids).maximum(ids - self.vocab_size, -1)  # (N, T), -1 for a token of the vocabulary
        return prefix_forward(x, self.tables[stage].W.data, slots)

    def backward(self, dy: Array, cache: Any, stage: int) -> Array:
        """(N, T, C) -> (N, T, C)"""
        if cache is None:
            return dy
        dx, dP = prefix_backward(dy, cache)
        self.tables[stage].W.accumulate(dP)
        return dx

    def run_stages(
        self, x: Array, ids: Array, n_blocks: int, run: Callable[[int, Array], tuple[Array, Any]]
    ) -> tuple[Array, tuple[Any, ...], list[Any]]:
        """All blocks of a model, where the prefix's own activations replace what enters each but the first.

        Parameters
        ----------
        x : ndarray of shape (N, T, C)
        ids : integer ndarray of shape (N, T)
        n_blocks : int
        run : callable
            ``run(i, x) -> (x, cache)``, the forward of block i.

        Returns
        -------
        x : ndarray of shape (N, T, C)
        block_caches : tuple
        prefix_caches : list
            One per block but the first; None where the prefix replaces nothing.
        """
        block_caches, prefix_caches = [], []
        for i in range(n_blocks):
            if i > 0:
                x, prefix_cache = self.forward(x, ids, stage=i)
                prefix_caches.append(prefix_cache)
            x, block_cache = run(i, x)  # (N, T, C)
            block_caches.append(block_cache)
        return x, tuple(block_caches), prefix_caches

    def backward_stages(self, dx: Array, cache: Any, blocks: list[Any], below: bool) -> Array:
        """Backward of `run_stages`, down to the lowest block that needs it; `below`: or through all of them."""
        for i in reversed(range(lowest_to_differentiate(blocks, below), len(blocks))):
            dx = backward_block(blocks[i], dx, cache.blocks[i])
            if i > 0:
                dx = self.backward(dx, cache.prefix[i], stage=i)
        return dx

    def known_ids(self, ids: Array) -> Array:
        """The ids with some token of the vocabulary at the positions of the prefix, for wte to look up."""
        return get_xp(ids=ids).minimum(ids, self.vocab_size - 1)

    def check(self, ids: Array, start: int) -> None:
        """Raise ValueError if sequences on the host that start at position 0 lack the prefix."""
        missing = on_host(ids) and start == 0 and self.n_before and (ids[:, 0] != self.vocab_size).any()
        if missing:
            raise ValueError("ids began without the model's prefix; model.read_batch or read_prompt inserts it")

    def insert(
        self, ids: numpy.ndarray, targets: numpy.ndarray, mask: numpy.ndarray
    ) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """Insert the prefix into a batch, on the host.

        The prompt of a row ends where its loss starts to count: with the token that predicts the first counted target.
        The li tokens come after it, and the last of them predicts that target instead. So the prompt of running text,
        where everything counts, is its first token; a row in which nothing counts is all prompt.

        Parameters
        ----------
        ids, targets : integer ndarray of shape (N, T)
        mask : boolean ndarray of shape (N, T)

        Returns
        -------
        ids, targets, mask : ndarray of shape (N, lp + T + li)
        """
        (N, T), n_before, n_after = ids.shape, self.n_before, self.n_after
        end = numpy.where(mask.any(axis=1), mask.argmax(axis=1), T - 1)[:, None]  # (N, 1) of the prompt, in ids
        t = numpy.arange(self.length + T)[None, :] - n_before  # (1, lp + T + li)
        infix = (t > end) & (t <= end + n_after)
        slot = numpy.where(t < 0, n_before + t, n_before + t - end - 1)
        column = numpy.where(t > end, t - n_after, t).clip(0, T - 1)  # in ids, where the token is not the prefix's
        inserted = (t < 0) | infix

        def spread(array: numpy.ndarray, filling: Any) -> numpy.ndarray:
            return numpy.where(inserted, filling, numpy.take_along_axis(array, column, axis=1))

        ids = spread(ids, self.vocab_size + slot)
        new_targets, new_mask = spread(targets, 0), spread(mask, False)
        if n_after:
            rows = numpy.arange(N)[:, None]
            first, last = n_before + end, n_before + end + n_after
            new_targets[rows, last], new_mask[rows, last] = targets[rows, end], mask[rows, end]
            new_targets[rows, first], new_mask[rows, first] = 0, False
        return ids, new_targets, new_mask

    def insert_prompt(self, prompt: numpy.ndarray) -> numpy.ndarray:
        """A prompt with the prefix around it: (T,) -> (lp + T + li,), on the host."""
        before, after = numpy.split(self.vocab_size + numpy.arange(self.length), [self.n_before])
        return numpy.concatenate((before, prompt, after))
