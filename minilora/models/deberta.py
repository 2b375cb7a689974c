"""DeBERTa-v2's encoder: attention to what tokens say and to how far apart they are; no absolute positions.

    x_0      = padding_mask * ln_e(wte[ids])
    relative = ln_r(wre)                                    (M, C), the same for all blocks
    x_1      = conv(x_0, block_0(x_0, relative))            (`layers/conv_layer.py`)
    x_(i+1)  = block_i(x_i, relative)    for i = 1, 2, ...  (`layers/deberta_block.py`)

He et al., "DeBERTa: decoding-enhanced BERT with disentangled attention" (2021), in the version of its second release:
distances fall into logarithmic buckets, relative embeddings are normalised and go through the same projections as the
tokens, and a convolution runs parallel to the first block. DeBERTa-v3's encoder is the same without the convolution.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import Array, get_xp
from minilora.layers import MLP, ConvLayer, DebertaBlock, DisentangledSelfAttention
from minilora.layers.conv_layer import hide_padding
from minilora.layers.post_ln_block import PostLNBlockCache
from minilora.models.config import LayerNormConfig
from minilora.models.encoder import Encoder
from minilora.models.initial import Initializer, Uninitialized
from minilora.models.model import lowest_to_differentiate
from minilora.models.recompute import backward_block, run_block
from minilora.ops.fast import EmbeddingCache, LayerNormCache, relative_rows


@dataclass(frozen=True, kw_only=True)
class DebertaConfig(LayerNormConfig):
    """The shape of a DeBERTa: the fields of LayerNormConfig, and these.

    Parameters
    ----------
    layer_norm_eps : float
    n_buckets : int
        Buckets for distances on each side, at least 2: there are M = 2 n_buckets relative embeddings.
    max_distance : int
        From this distance on, all are treated alike; more than n_buckets / 2 + 1. It does not limit T.
    conv_kernel_size : int
        S, odd; 0 for a model without the convolution.
    n_classes : int
        The classes that `DebertaForClassification` tells apart.
    """

    layer_norm_eps: float = 1e-7
    n_buckets: int = 256
    max_distance: int = 512
    conv_kernel_size: int = 3
    n_classes: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_sizes("max_distance", "n_classes")
        self._check_sizes("n_buckets", least=2)
        self._check_sizes("conv_kernel_size", least=0)
        least = self.n_buckets // 2 + 2
        if self.max_distance < least:
            raise ValueError(
                f"max_distance was {self.max_distance}; "
                f"with n_buckets = {self.n_buckets} it must be an integer of at least {least}"
            )
        if self.conv_kernel_size and self.conv_kernel_size % 2 == 0:
            raise ValueError(f"conv_kernel_size was {self.conv_kernel_size}; it must be odd, or 0 for no convolution")


class DebertaCache(NamedTuple):
    wte: EmbeddingCache
    ln_e: LayerNormCache
    padding_mask: Any  # (N, T, 1) of the weights' dtype, or None
    ln_r: LayerNormCache
    blocks: tuple[PostLNBlockCache, ...]
    conv: Any  # a ConvLayerCache; None without the convolution


class Deberta(Encoder):
    """An encoder: ``x, cache = model.hidden(ids, padding_mask)``, then ``model.backward_hidden(dx, cache)``.

    Parameters
    ----------
    config : DebertaConfig
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2).
    dtype : str
    device : {"cpu", "gpu", "auto"}
    """

    config: DebertaConfig

    def __init__(
        self,
        config: DebertaConfig,
        rng: numpy.random.Generator | Uninitialized,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.config = config
        C, F, eps = config.d_model, config.d_mlp, config.layer_norm_eps
        new = Initializer(rng, dtype, device)

        def block() -> DebertaBlock:
            q, k, v, o = (new.linear(C, C) for _ in range(4))
            attn = DisentangledSelfAttention(q, k, v, o, config.n_head)
            mlp = MLP(new.linear(C, F), new.linear(F, C), "gelu")
            return DebertaBlock(attn, new.layernorm(C, eps), mlp, new.layernorm(C, eps))

        self.wte = new.embedding(config.vocab_size, C)
        self.ln_e = new.layernorm(C, eps)
        self.wre = new.embedding(2 * config.n_buckets, C)
        self.ln_r = new.layernorm(C, eps)
        self.blocks = [block() for _ in range(config.n_layer)]
        self.conv = None
        if config.conv_kernel_size:
            W = new.normal(C, C, config.conv_kernel_size)
            self.conv = ConvLayer(W, new.constant(0.0, C), new.layernorm(C, eps))
        self.name_parameters()

    def hidden(self, ids: Array, padding_mask: Array | None = None) -> tuple[Array, DebertaCache]:
        """What a head reads: (N, T) -> (N, T, C).

        Parameters
        ----------
        ids : integer ndarray of shape (N, T)
        padding_mask : boolean or integer ndarray of shape (N, T), optional
            False, or 0, for padding, which neither sees nor is seen. None hides nothing.

        Returns
        -------
        x : ndarray of shape (N, T, C)
            Meaningless where padding_mask is False.
        cache : DebertaCache
            Every intermediate value, by name: ``cache.blocks[1].attn.probs``.

        Raises
        ------
        ValueError
            If an id is out of range, padding_mask of another shape, or one of them on another device than the model.
        """
        xp = get_xp(ids=ids, padding_mask=padding_mask, **{"the model": self.wte.W.data})
        self.check_inputs(ids, padding_mask)
        c = self.config
        tokens = None if padding_mask is None else padding_mask.astype(bool)  # (N, T)
        factor = None if tokens is None else tokens[:, :, None].astype(self.wte.W.data.dtype)  # (N, T, 1)
        distance_rows = xp.asarray(relative_rows(ids.shape[1], c.n_buckets, c.max_distance))  # (2T + 1,)
        relative, ln_r_cache = self.ln_r.forward(self.wre.W.data)  # (M, C)
        x, wte_cache = self.wte.forward(ids)  # (N, T) -> (N, T, C)
        x, ln_e_cache = self.ln_e.forward(x)
        embedded = x = hide_padding(x, factor)
        conv_cache, block_caches = None, []
        for i, block in enumerate(self.blocks):
            x, block_cache = run_block(  # (N, T, C)
                self, block, x, relative=relative, distance_rows=distance_rows, padding_mask=tokens
            )
            block_caches.append(block_cache)
            if i == 0 and self.conv is not None:
                x, conv_cache = self.conv.forward(embedded, x, factor)
        return x, DebertaCache(wte_cache, ln_e_cache, factor, ln_r_cache, tuple(block_caches), conv_cache)

    def backward_hidden(self, dx: Array, cache: DebertaCache) -> None:
        """Backward of `hidden`: add to every trainable p.grad, given the gradient of its result, (N, T, C).

        It goes no deeper than the lowest trainable parameter. The relative embeddings enter every block, and so are
        below all of them.
        """
        embeddings = self.wte.trainable or self.ln_e.trainable
        relative = self.wre.trainable or self.ln_r.trainable
        below = embeddings or relative or (self.conv is not None and self.conv.trainable)
        dembedded, drelative = 0.0, 0.0
        lowest = lowest_to_differentiate(self.blocks, below)
        for block, block_cache in reversed([*zip(self.blocks, cache.blocks, strict=True)][lowest:]):
            if block is self.blocks[0] and self.conv is not None:
                # forward: x_1 = conv(embedded, block_0(embedded))   so
                dembedded, dx = self.conv.backward(dx, cache.conv)
            dx, d = backward_block(block, dx, block_cache)
            drelative += d
        if relative:
            # forward: relative = ln_r(wre), read by every block   so
            dwre = self.ln_r.backward(drelative, cache.ln_r)
            self.wre.W.accumulate(dwre)
        if embeddings:
            # forward: embedded = padding_mask * ln_e(wte[ids]), read by block 0 and by the convolution   so
            dx = self.ln_e.backward(hide_padding(dx + dembedded, cache.padding_mask), cache.ln_e)
            self.wte.backward(dx, cache.wte)
