"""Prefix tuning of an encoder: tokens outside the vocabulary, seen by all others, whose activations are learned.

    <s>  P_0 ... P_(lp-1)  w_1 ... w_n  P_lp ... P_(lp+li-1)        in the order of their positions

The first token stays the first, because a classifier's head reads it; lp tokens follow it, li come after a row's last
token, and padding after them. In a RoBERTa every position sees every other, and a token's place is in its position
embedding alone. So the arrays hold the prefix behind the row's own T columns, whatever its positions are, and `hidden`
returns those T: whoever reads them needs to know nothing about the prefix. What is replaced is the same as in a decoder
(`prefixed.py`): the row of wte, before it is added to its position and normalised; and, for PreLayer, what enters each
block.

DeBERTa has no such encoder: its attention counts the columns between two tokens.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.methods.prefix_tokens import Prefix
from minilora.models.recompute import run_block
from minilora.models.roberta import Roberta


class PrefixedRobertaCache(NamedTuple):
    wte: Any
    wtt: Any
    wpe: Any
    ln_e: Any
    blocks: tuple[Any, ...]
    prefix: tuple[Any, ...]  # one per block; None where the prefix replaces nothing


class PrefixedRoberta(Roberta):
    """What a Roberta becomes while a prefix is active.

    Attributes
    ----------
    prefix : Prefix
    """

    prefix: Prefix

    @property
    def longest_input(self) -> int:
        """The most tokens that a sequence can have: n_positions minus those of the prefix."""
        return self.config.n_positions - self.prefix.length

    def check_inputs(self, ids: Array, padding_mask: Array | None = None) -> None:  # type: ignore[override]
        """Raise ValueError unless `forward` can take these."""
        limit, added = self.config.n_positions, self.prefix.length
        if ids.ndim == 2 and (T := ids.shape[1] + added) > limit:
            raise ValueError(f"ids made a sequence of {T} tokens, {added} of them the prefix's; n_positions is {limit}")
        super().check_inputs(ids, padding_mask)

    def hidden(self, ids: Array, padding_mask: Array | None = None) -> tuple[Array, Any]:
        """See Roberta's `hidden`; here every token sees the prefix too."""
        xp = get_xp(ids=ids, padding_mask=padding_mask, **{"the model": self.wte.W.data})
        self.check_inputs(ids, padding_mask)
        T, positions = ids.shape[1], self._positions_around(ids)  # (N, T + lp + li)
        ids = self._followed(ids, self.config.vocab_size + xp.arange(self.prefix.length))  # (N, T + lp + li)
        if padding_mask is not None:
            padding_mask = self._followed(padding_mask.astype(bool), xp.ones(self.prefix.length, dtype=bool))
        tokens, wte_cache = self.wte.forward(self.prefix.known_ids(ids))  # (N, T + lp + li, C)
        tokens, first = self.prefix.forward(tokens, ids, stage=0)
        kind, wtt_cache = self.wtt.forward(xp.zeros(1, dtype="int64"))  # (1,) -> (1, C)
        pos_emb, wpe_cache = self.wpe.forward(positions)  # (N, T + lp + li, C)
        x, ln_e_cache = self.ln_e.forward(tokens + kind + pos_emb)
        x, block_caches, others = self.prefix.run_stages(
            x, ids, len(self.blocks), lambda i, x: run_block(self, self.blocks[i], x, padding_mask=padding_mask)
        )
        cache = PrefixedRobertaCache(wte_cache, wtt_cache, wpe_cache, ln_e_cache, block_caches, (first, *others))
        return x[:, :T], cache

    def backward_hidden(self, dx: Array, cache: Any) -> None:
        """Backward of `hidden`: add to every trainable p.grad, given the gradient of its result, (N, T, C)."""
        N, _, C = dx.shape
        unread = self.xp.zeros((N, self.prefix.length, C), dtype=dx.dtype)  # `hidden` does not return these columns
        dx = self.xp.concatenate((dx, unread), axis=1)  # (N, T + lp + li, C)
        tables = self.wte.trainable or self.wtt.trainable or self.wpe.trainable or self.ln_e.trainable
        below = tables or self.prefix.trainable
        dx = self.prefix.backward_stages(dx, cache, self.blocks, below)
        if below:
            # forward: x = ln_e(prefix(wte[ids]) + wtt[0] + wpe[positions])   so
            dx = self.ln_e.backward(dx, cache.ln_e)
            self.wpe.backward(dx, cache.wpe)
            self.wtt.backward(dx.sum(axis=(0, 1))[None], cache.wtt)
            self.wte.backward(self.prefix.backward(dx, cache.prefix[0], stage=0), cache.wte)

    def _followed(self, rows: Array, by: Array) -> Array:
        """Each row with the same values behind it: (N, T), (lp + li,) -> (N, T + lp + li)."""
        xp = get_xp(rows=rows)
        return xp.concatenate((rows, xp.broadcast_to(by, (len(rows), *by.shape))), axis=1)

    def _positions_around(self, ids: Array) -> Array:
        """The positions of the tokens, which make room for the prefix, and then those of the prefix."""
        xp, n_before, pad_id = get_xp(ids=ids), self.prefix.n_before, self.config.pad_id
        own = self._positions(ids)  # (N, T); pad_id at padding, then pad_id + 1, ...
        last = own.max(axis=1, keepdims=True)  # (N, 1)
        before = xp.broadcast_to(pad_id + 2 + xp.arange(n_before), (len(ids), n_before))
        after = last + n_before + 1 + xp.arange(self.prefix.n_after)  # (N, li)
        own = own + n_before * (own > pad_id + 1)
        return xp.concatenate((own, before, after), axis=1)
