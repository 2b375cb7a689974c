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

from minilora.arrays.backend import Array
from minilora.layers import KeyValueCache
from minilora.methods.prefix_tokens import Prefix
from minilora.models import GPT, Decoder, Llama
from minilora.models.checks import check_ids
from minilora.models.decoder import TextLengths


class PrefixedDecoder(Decoder[Any]):
    """A decoder with trained tokens before and after each prompt.

    Attributes
    ----------
    prefix : Prefix
        Its tokens have ids from V upwards; `loss` and `generate` insert them.
    """

    prefix: Prefix
    reads_several_texts = False  # a prefix is inserted once in a row

    @property
    def longest_input(self) -> int:
        """The most tokens that a sequence can have: n_positions minus those of the prefix."""
        return self.config.n_positions - self.prefix.length

    def check_inputs(self, ids: Array, *, start: int = 0, text_lengths: TextLengths = None) -> None:
        """Raise ValueError unless `forward` can take these ids after `start` earlier positions."""
        limit, added = self.config.n_positions, self.prefix.length
        check_ids(ids, self.config.vocab_size + added)
        T = start + ids.shape[1]
        if T > limit:
            raise ValueError(f"ids made a sequence of {T} tokens, {added} of them the prefix's; n_positions is {limit}")
        if text_lengths is not None:
            raise ValueError("text_lengths was given, but the model has a prefix; each row must be one text")
        self.prefix.check(ids, start)

    def read_batch(self, batch: Any) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """The ids, targets and loss_mask of an LMBatch, with the prefix inserted."""
        return self.prefix.insert(*super().read_batch(batch))

    def read_prompt(self, prompt: numpy.ndarray) -> numpy.ndarray:
        """The prompt with the prefix around it: (T,) -> (lp + T + li,)."""
        return self.prefix.insert_prompt(prompt)

    def run_stages(
        self, x: Array, ids: Array, past: list[KeyValueCache] | None, **attention: Any
    ) -> tuple[Array, tuple, list[Any]]:
        """The stages of the prefix's own blocks, see `Prefix.run_stages`."""
        return self.prefix.run_stages(x, ids, len(self.blocks), lambda i, x: self.run_one(i, x, past, **attention))


class PrefixedGPTCache(NamedTuple):
    wte: Any
    wpe: Any
    blocks: tuple[Any, ...]
    ln_f: Any
    prefix: tuple[Any, ...]  # one per block; None where the prefix replaces nothing
    head: Any = None


class PrefixedGPT(PrefixedDecoder, GPT):
    """What a GPT becomes while a prefix is active."""

    after_prompt = GPT  # what it computes for tokens that are not the prefix's

    def hidden(self, ids: Array, past: Any = None, text_lengths: TextLengths = None) -> tuple[Array, Any]:
        """See GPT's `hidden`; here, the prefix's own activations replace each stage's input at its positions."""
        positions = self.positions(ids, past, text_lengths)  # (T,)
        tokens, wte_cache = self.wte.forward(self.prefix.known_ids(ids))  # (N, T) -> (N, T, C)
        tokens, first = self.prefix.forward(tokens, ids, stage=0)
        pos_emb, wpe_cache = self.wpe.forward(positions)  # (T,) -> (T, C)
        x, block_caches, others = self.run_stages(tokens + pos_emb, ids, past)  # (N, T, C)
        x, ln_f_cache = self.ln_f.forward(x)
        return x, PrefixedGPTCache(wte_cache, wpe_cache, block_caches, ln_f_cache, (first, *others))

    def backward_hidden(self, dx: Array, cache: Any) -> None:
        """Backward of `hidden`: add to every trainable p.grad, given the gradient of its result, (N, T, C)."""
        below = self.wte.trainable or self.wpe.trainable or self.prefix.trainable
        dx = self.ln_f.backward(dx, cache.ln_f)
        dx = self.prefix.backward_stages(dx, cache, self.blocks, below)
        if below:
            # forward: x = prefix(wte[ids]) + wpe[positions]   so
            self.wpe.backward(dx.sum(axis=0), cache.wpe)
            self.wte.backward(self.prefix.backward(dx, cache.prefix[0], stage=0), cache.wte)


class PrefixedLlamaCache(NamedTuple):
    wte: Any
    blocks: tuple[Any, ...]
    rms_f: Any
    prefix: tuple[Any, ...]  # one per block; None where the prefix replaces nothing
    head: Any = None


class PrefixedLlama(PrefixedDecoder, Llama):
    """What a Llama becomes while a prefix is active."""

    after_prompt = Llama  # what it computes for tokens that are not the prefix's

    def hidden(self, ids: Array, past: Any = None, text_lengths: TextLengths = None) -> tuple[Array, Any]:
        """See Llama's `hidden`; here, the prefix's own activations replace each stage's input at its positions."""
        rotation = self.rotation(self.positions(ids, past, text_lengths))
        x, wte_cache = self.wte.forward(self.prefix.known_ids(ids))  # (N, T) -> (N, T, C)
        x, first = self.prefix.forward(x, ids, stage=0)
        x, block_caches, others = self.run_stages(x, ids, past, rotation=rotation)  # (N, T, C)
        x, rms_f_cache = self.rms_f.forward(x)
        return x, PrefixedLlamaCache(wte_cache, block_caches, rms_f_cache, (first, *others))

    def backward_hidden(self, dx: Array, cache: Any) -> None:
        """Backward of `hidden`: add to every trainable p.grad, given the gradient of its result, (N, T, C)."""
        below = self.wte.trainable or self.prefix.trainable
        dx = self.rms_f.backward(dx, cache.rms_f)
        dx = self.prefix.backward_stages(dx, cache, self.blocks, below)
        if below:
            # forward: x = prefix(wte[ids])   so
            self.wte.backward(self.prefix.backward(dx, cache.prefix[0], stage=0), cache.wte)
