"""Prefix tuning: extra tokens before and after a prompt, outside the vocabulary, whose activations are learned.

A prefix token is a token: its id is V, V + 1, ..., it takes a position, and every later token sees it. So a key-value
cache, padding and the loss mask need to know nothing about it. What differs is where its activation comes from:

    stage 0        the embedding of slot s = id - V is P_0[s] instead of a row of wte       PreEmbed has only this one
    stage i        what enters block i at slot s is P_i[s], whatever block i - 1 gave       PreLayer, for i < L

With lp tokens before and li after the prompt these are C (lp + li) numbers, or L C (lp + li), as in the paper
(section 5.1). PreLayer's replacement stops at the input of the last block: nothing attends to that block's output, and
from it, the last token of the prefix predicts the first word of the answer.
"""

from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import Array, get_xp, on_host
from minilora.layers import Embedding, KeyValueCache
from minilora.models import GPT
from minilora.models.checks import check_ids
from minilora.models.model import lowest_to_differentiate
from minilora.ops.fast import prefix_backward, prefix_forward
from minilora.parameter import Module


class PrefixedGPTCache(NamedTuple):
    wte: Any
    wpe: Any
    blocks: tuple[Any, ...]
    ln_f: Any
    prefix: tuple[Any, ...]  # one per block; None where the prefix replaces nothing
    head: Any = None


class PrefixedGPT(GPT):
    """A GPT with trained tokens before and after each prompt: what a GPT becomes while a prefix is active.

    Attributes
    ----------
    prefix : Prefix
        Its tokens have ids from V upwards; `loss` and `generate` insert them.
    """

    prefix: "Prefix"

    @property
    def longest_input(self) -> int:
        """The most tokens that a sequence can have: n_positions minus those of the prefix."""
        return self.config.n_positions - self.prefix.length

    def check_inputs(self, ids: Array, *, start: int = 0) -> None:
        """Raise ValueError unless `forward` can take these ids after `start` earlier positions."""
        limit, added = self.config.n_positions, self.prefix.length
        check_ids(ids, self.config.vocab_size + added)
        T = start + ids.shape[1]
        if T > limit:
            raise ValueError(f"ids made a sequence of {T} tokens, {added} of them the prefix's; n_positions is {limit}")
        self.prefix.check(ids, start)

    def read_batch(self, batch: Any) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """The ids, targets and loss_mask of an LMBatch, with the prefix inserted."""
        return self.prefix.insert(*super().read_batch(batch))

    def read_prompt(self, prompt: numpy.ndarray) -> numpy.ndarray:
        """The prompt with the prefix around it: (T,) -> (lp + T + li,)."""
        return self.prefix.insert_prompt(prompt)

    def hidden(self, ids: Array, past: list[KeyValueCache] | None = None) -> tuple[Array, Any]:
        """See GPT's `hidden`; here, the prefix's own activations replace each stage's input at its positions."""
        start = self.first_position(ids, past)
        tokens, wte_cache = self.wte.forward(self.prefix.known_ids(ids))  # (N, T) -> (N, T, C)
        tokens, prefix_cache = self.prefix.forward(tokens, ids, stage=0)
        pos_emb, wpe_cache = self.wpe.forward(self.xp.arange(start, start + ids.shape[1]))  # (T,) -> (T, C)
        x, block_caches, prefix_caches = tokens + pos_emb, [], [prefix_cache]
        for i, block in enumerate(self.blocks):
            if i > 0:
                x, prefix_cache = self.prefix.forward(x, ids, stage=i)
                prefix_caches.append(prefix_cache)
            x, block_cache = block.forward(x, past[i] if past else None)  # (N, T, C)
            block_caches.append(block_cache)
        x, ln_f_cache = self.ln_f.forward(x)
        return x, PrefixedGPTCache(wte_cache, wpe_cache, tuple(block_caches), ln_f_cache, tuple(prefix_caches))

    def backward_hidden(self, dx: Array, cache: Any) -> None:
        """Backward of `hidden`: add to every trainable p.grad, given the gradient of its result, (N, T, C)."""
        below = self.wte.trainable or self.wpe.trainable or self.prefix.trainable
        dx = self.ln_f.backward(dx, cache.ln_f)
        for i in reversed(range(lowest_to_differentiate(self.blocks, below), len(self.blocks))):
            dx = self.blocks[i].backward(dx, cache.blocks[i])
            if i > 0:
                dx = self.prefix.backward(dx, cache.prefix[i], stage=i)
        if below:
            # forward: x = prefix(wte[ids]) + wpe[positions]   so
            self.wpe.backward(dx.sum(axis=0), cache.wpe)
            self.wte.backward(self.prefix.backward(dx, cache.prefix[0], stage=0), cache.wte)


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
        column = numpy.clip(
            numpy.where(t > end, t - n_after, t), 0, T - 1
        )  # in ids, where the token is not from the prefix
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
