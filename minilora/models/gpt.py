"""GPT-2's architecture: learned positions, pre-LN blocks, and a head that is tied to the token embedding."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import Array
from minilora.layers import MLP, Block, KeyValueCache, SelfAttention
from minilora.layers.block import BlockCache
from minilora.models.config import LayerNormConfig
from minilora.models.decoder import Decoder, TextLengths
from minilora.models.initial import Initializer, Uninitialized
from minilora.ops.fast import EmbeddingCache, LayerNormCache


@dataclass(frozen=True, kw_only=True)
class GPTConfig(LayerNormConfig):
    """The shape of a GPT: the fields of LayerNormConfig, and one more.

    Parameters
    ----------
    n_positions : int
        The longest sequence, T.
    """

    n_positions: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_sizes("n_positions")


class GPTCache(NamedTuple):
    wte: EmbeddingCache
    wpe: EmbeddingCache
    blocks: tuple[BlockCache, ...]
    ln_f: LayerNormCache
    head: Any = None  # a LinearCache; `hidden` has no head


class GPT(Decoder[GPTCache]):
    """A decoder: ``logits, cache = model.forward(ids)``, then ``model.backward(dlogits, cache)``.

    Parameters
    ----------
    config : GPTConfig
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2), and N(0, 0.02^2 / 2L) where they write to the residual stream, as in GPT-2.
    dtype : str
    device : {"cpu", "gpu", "auto"}
    """

    config: GPTConfig

    def __init__(
        self,
        config: GPTConfig,
        rng: numpy.random.Generator | Uninitialized,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.config = config
        C, F, eps = config.d_model, config.d_mlp, config.layer_norm_eps
        residual_std = 0.02 / math.sqrt(2 * config.n_layer)
        new = Initializer(rng, dtype, device)

        def block() -> Block:
            q, k, v = (new.linear(C, C) for _ in range(3))
            attn = SelfAttention(q, k, v, new.linear(C, C, residual_std), config.n_head)
            mlp = MLP(new.linear(C, F), new.linear(F, C, residual_std), "gelu_tanh")
            return Block(new.layernorm(C, eps), attn, new.layernorm(C, eps), mlp)

        self.wte = new.embedding(config.vocab_size, C)
        self.wpe = new.embedding(config.n_positions, C)
        self.blocks = [block() for _ in range(config.n_layer)]
        self.ln_f = new.layernorm(C, eps)
        self.name_parameters()

    def hidden(
        self, ids: Array, past: list[KeyValueCache] | None = None, text_lengths: TextLengths = None
    ) -> tuple[Array, GPTCache]:
        """What the head reads: (N, T) -> (N, T, C). Arguments and cache are those of `forward`, without the head."""
        positions = self.positions(ids, past, text_lengths)  # (T,), or (N, T) with text_lengths
        tokens, wte_cache = self.wte.forward(ids)  # (N, T) -> (N, T, C)
        pos_emb, wpe_cache = self.wpe.forward(positions)  # (T,) -> (T, C), or (N, T) -> (N, T, C)
        x, block_caches = self.run_blocks(tokens + pos_emb, past, text_lengths=text_lengths)  # (N, T, C)
        x, ln_f_cache = self.ln_f.forward(x)
        return x, GPTCache(wte_cache, wpe_cache, block_caches, ln_f_cache)

    def backward_hidden(self, dx: Array, cache: GPTCache) -> None:
        """Backward of `hidden`: add to every trainable p.grad, given the gradient of its result, (N, T, C)."""
        embeddings = self.wte.trainable or self.wpe.trainable
        dx = self.ln_f.backward(dx, cache.ln_f)
        dx = self.backward_blocks(dx, cache.blocks, below=embeddings)
        if embeddings:
            # forward: x = wte[ids] + wpe[positions]   so   dx reaches both; positions (T,) are shared by all rows
            self.wpe.backward(dx.sum(axis=0) if cache.wpe.ids.ndim == 1 else dx, cache.wpe)
            self.wte.backward(dx, cache.wte)
