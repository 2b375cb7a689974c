"""RoBERTa's encoder: every position sees every other; learned positions, post-LN blocks, exact GELU.

    x_0     = ln_e(wte[ids] + wtt[0] + wpe[positions])
    x_(i+1) = block_i(x_i)                                     (`layers/post_ln_block.py`)

Positions count the tokens that are not padding, starting after the padding's own id: with pad_id = 1, the first token
has position 2, the next 3, and all padding has position 1. So a row's positions do not depend on where its padding is.
The padding mask is separate: where it is False, no position sees that one. It must be False at padding.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy

from minilora.arrays.backend import Array, get_xp
from minilora.layers import MLP, PostLNBlock, SelfAttention
from minilora.layers.post_ln_block import PostLNBlockCache
from minilora.models.config import LayerNormConfig
from minilora.models.encoder import Encoder
from minilora.models.initial import Initializer, Uninitialized
from minilora.models.model import lowest_to_differentiate
from minilora.models.recompute import backward_block, run_block
from minilora.ops.fast import EmbeddingCache, LayerNormCache


@dataclass(frozen=True, kw_only=True)
class RobertaConfig(LayerNormConfig):
    """The shape of a RoBERTa: the fields of LayerNormConfig, and these.

    Parameters
    ----------
    n_positions : int
        The longest sequence, T. (The table has n_positions + pad_id + 1 rows; RoBERTa's 514 are for 512 tokens.)
    pad_id : int
        The token that is padding, and the position that it has.
    n_types : int
        Rows of the table of token types; the model only uses the first. RoBERTa has one.
    n_classes : int
        The classes that `RobertaForClassification` tells apart.
    """

    n_positions: int
    pad_id: int = 1
    n_types: int = 1
    n_classes: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_sizes("n_positions", "n_types", "n_classes")
        self._check_sizes("pad_id", least=0)
        if self.pad_id >= self.vocab_size:
            raise ValueError(f"pad_id was {self.pad_id}; it must be from 0 to vocab_size - 1 = {self.vocab_size - 1}")


class RobertaCache(NamedTuple):
    wte: EmbeddingCache
    wtt: EmbeddingCache
    wpe: EmbeddingCache
    ln_e: LayerNormCache
    blocks: tuple[PostLNBlockCache, ...]


class Roberta(Encoder):
    """An encoder: ``x, cache = model.hidden(ids, padding_mask)``, then ``model.backward_hidden(dx, cache)``.

    Parameters
    ----------
    config : RobertaConfig
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2).
    dtype : str
    device : {"cpu", "gpu", "auto"}
    """

    config: RobertaConfig

    def __init__(
        self,
        config: RobertaConfig,
        rng: numpy.random.Generator | Uninitialized,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.config = config
        C, F, eps = config.d_model, config.d_mlp, config.layer_norm_eps
        new = Initializer(rng, dtype, device)

        def block() -> PostLNBlock:
            q, k, v, o = (new.linear(C, C) for _ in range(4))
            attn = SelfAttention(q, k, v, o, config.n_head, causal=False)
            mlp = MLP(new.linear(C, F), new.linear(F, C), "gelu")
            return PostLNBlock(attn, new.layernorm(C, eps), mlp, new.layernorm(C, eps))

        self.wte = new.embedding(config.vocab_size, C)
        self.wtt = new.embedding(config.n_types, C)
        self.wpe = new.embedding(config.n_positions + config.pad_id + 1, C)
        self.ln_e = new.layernorm(C, eps)
        self.blocks = [block() for _ in range(config.n_layer)]
        self.name_parameters()

    def hidden(self, ids: Array, padding_mask: Array | None = None) -> tuple[Array, RobertaCache]:
        """What a head reads: (N, T) -> (N, T, C).

        Parameters
        ----------
        ids : integer ndarray of shape (N, T)
        padding_mask : boolean or integer ndarray of shape (N, T), optional
            False, or 0, at positions that must not be seen: padding. None hides nothing.

        Returns
        -------
        x : ndarray of shape (N, T, C)
            Meaningless where padding_mask is False.
        cache : RobertaCache
            Every intermediate value, by name: ``cache.blocks[1].attn.probs``.

        Raises
        ------
        ValueError
            If an id is out of range, the sequence too long, padding_mask of another shape, or one of them on another
            device than the model.
        """
        xp = get_xp(ids=ids, padding_mask=padding_mask, **{"the model": self.wte.W.data})
        self.check_inputs(ids, padding_mask)
        padding_mask = None if padding_mask is None else padding_mask.astype(bool)
        tokens, wte_cache = self.wte.forward(ids)  # (N, T) -> (N, T, C)
        kind, wtt_cache = self.wtt.forward(xp.zeros(1, dtype="int64"))  # (1,) -> (1, C)
        pos_emb, wpe_cache = self.wpe.forward(self._positions(ids))  # (N, T) -> (N, T, C)
        x, ln_e_cache = self.ln_e.forward(tokens + kind + pos_emb)
        block_caches = []
        for block in self.blocks:
            x, block_cache = run_block(self, block, x, padding_mask=padding_mask)  # (N, T, C)
            block_caches.append(block_cache)
        return x, RobertaCache(wte_cache, wtt_cache, wpe_cache, ln_e_cache, tuple(block_caches))

    def backward_hidden(self, dx: Array, cache: RobertaCache) -> None:
        """Backward of `hidden`: add to every trainable p.grad, given the gradient of its result, (N, T, C).

        It goes no deeper than the lowest trainable parameter.
        """
        tables = self.wte.trainable or self.wtt.trainable or self.wpe.trainable or self.ln_e.trainable
        lowest = lowest_to_differentiate(self.blocks, tables)
        for block, block_cache in reversed([*zip(self.blocks, cache.blocks, strict=True)][lowest:]):
            dx = backward_block(block, dx, block_cache)
        if tables:
            # forward: x = ln_e(wte[ids] + wtt[0] + wpe[positions])   so   the gradient of the sum reaches all three
            dx = self.ln_e.backward(dx, cache.ln_e)
            self.wte.backward(dx, cache.wte)
            self.wtt.backward(dx.sum(axis=(0, 1))[None], cache.wtt)  # one type, that of every token
            self.wpe.backward(dx, cache.wpe)

    def _positions(self, ids: Array) -> Array:
        """pad_id where ids are padding; pad_id + 1, pad_id + 2, ... for the other tokens of a row.  (N, T)"""
        token = (ids != self.config.pad_id).astype("int64")
        return token.cumsum(axis=1) * token + self.config.pad_id
