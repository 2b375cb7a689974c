"""Llama's architecture (Touvron et al., 2023), also that of Mistral and Qwen2: rotary positions, RMSNorm, a gated MLP.

    x      = wte[ids]
    x      = x + attn(rms_1(x)), with q and k rotated by their positions and G <= H key-value heads     (L blocks)
    x      = x + down(silu(gate(rms_2(x))) * up(rms_2(x)))
    logits = rms_f(x) W^T, with W the head's own, or the token embedding's: a tied head

No position has an embedding: the angle between a rotated query and key says how far apart they are (`ops/rope.py`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import Array
from minilora.layers import GatedMLP, KeyValueCache, Linear, LlamaBlock, SelfAttention
from minilora.layers.llama_block import LlamaBlockCache
from minilora.models.config import ModelConfig
from minilora.models.decoder import Decoder, TextLengths
from minilora.models.initial import Initializer, Uninitialized
from minilora.ops import Llama3Scaling, rope_frequencies, rope_table
from minilora.ops.fast import EmbeddingCache, RMSNormCache


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(ModelConfig):
    """The shape of a Llama: the fields of ModelConfig, and these.

    Parameters
    ----------
    n_positions : int
        The longest sequence, T. No parameter depends on it.
    n_kv_head : int, optional
        G, which divides H: H / G query heads read one key-value head. H, if not given.
    head_size : int, optional
        K, even; C / H if not given.
    rope_theta : float
        The base of the rotation's frequencies.
    rope_scaling : Llama3Scaling, optional
        How Llama 3 slows the slow frequencies down.
    rms_norm_eps : float
        What RMSNorm adds to the mean square.
    tied_head : bool
        If True, the token embedding is the head's matrix too.
    qkv_bias, o_bias : bool
        Whether q_proj, k_proj and v_proj have a bias (Qwen2's do), and whether o_proj does.
    """

    n_positions: int
    n_kv_head: int = None  # type: ignore[assignment]  # H; an integer from __post_init__ on
    head_size: int = None  # type: ignore[assignment]  # C / H; an integer from __post_init__ on
    rope_theta: float = 10000.0
    rope_scaling: Llama3Scaling | None = None
    rms_norm_eps: float = 1e-5
    tied_head: bool = False
    qkv_bias: bool = False
    o_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_kv_head is None:
            object.__setattr__(self, "n_kv_head", self.n_head)
        if self.head_size is None:
            self._check_heads_divide()
            object.__setattr__(self, "head_size", self.d_model // self.n_head)
        self._check_sizes("n_positions", "n_kv_head", "head_size")
        self._check_eps("rms_norm_eps")
        if self.n_head % self.n_kv_head:
            raise ValueError(f"n_kv_head was {self.n_kv_head}; it must divide n_head = {self.n_head}")
        if self.head_size % 2:
            raise ValueError(f"head_size was {self.head_size}; it must be even, because pairs of numbers are rotated")
        theta = self.rope_theta
        if isinstance(theta, bool) or not isinstance(theta, (int, float)) or not 0.0 < theta < math.inf:
            raise ValueError(f"rope_theta was {theta!r}; it must be a finite number above 0")
        if isinstance(self.rope_scaling, Mapping):  # from a file
            names = [field.name for field in fields(Llama3Scaling)]
            if set(self.rope_scaling) != set(names):
                raise ValueError(f"rope_scaling was {self.rope_scaling!r:.100}; it must have {', '.join(names)}")
            object.__setattr__(self, "rope_scaling", Llama3Scaling(**self.rope_scaling))
        if not isinstance(self.rope_scaling, Llama3Scaling | None):
            raise ValueError(f"rope_scaling was {self.rope_scaling!r:.100}; it must be a Llama3Scaling or None")
        for name in ("tied_head", "qkv_bias", "o_bias"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} was {getattr(self, name)!r:.100}; it must be True or False")


class LlamaCache(NamedTuple):
    wte: EmbeddingCache
    blocks: tuple[LlamaBlockCache, ...]
    rms_f: RMSNormCache
    head: Any = None  # a LinearCache; `hidden` has no head


class Llama(Decoder[LlamaCache]):
    """A decoder: ``logits, cache = model.forward(ids)``, then ``model.backward(dlogits, cache)``.

    Parameters
    ----------
    config : LlamaConfig
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2).
    dtype : str
    device : {"cpu", "gpu", "auto"}
    """

    config: LlamaConfig

    def __init__(
        self,
        config: LlamaConfig,
        rng: numpy.random.Generator | Uninitialized,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.config = config
        C, F, eps = config.d_model, config.d_mlp, config.rms_norm_eps
        q_size, kv_size = config.n_head * config.head_size, config.n_kv_head * config.head_size  # H K and G K
        new = Initializer(rng, dtype, device)

        def block() -> LlamaBlock:
            q, k, v = (new.linear(C, O, bias=config.qkv_bias) for O in (q_size, kv_size, kv_size))
            o = new.linear(q_size, C, bias=config.o_bias)
            attn = SelfAttention(q, k, v, o, config.n_head, n_kv_head=config.n_kv_head)
            gate, up = (new.linear(C, F, bias=False) for _ in range(2))
            mlp = GatedMLP(gate, up, new.linear(F, C, bias=False))
            return LlamaBlock(new.rmsnorm(C, eps), attn, new.rmsnorm(C, eps), mlp)

        self.wte = new.embedding(config.vocab_size, C)
        self.blocks = [block() for _ in range(config.n_layer)]
        self.rms_f = new.rmsnorm(C, eps)
        if not config.tied_head:
            self.lm_head = new.linear(C, config.vocab_size, bias=False)
        self.name_parameters()

    @property
    def head(self) -> Any:
        """The Linear, C -> V, that gives the logits. A tied one holds the very Parameter of the token embedding."""
        return Linear(self.wte.W) if self.config.tied_head else self.lm_head

    def hidden(
        self, ids: Array, past: list[KeyValueCache] | None = None, text_lengths: TextLengths = None
    ) -> tuple[Array, LlamaCache]:
        """What the head reads: (N, T) -> (N, T, C). Arguments and cache are those of `forward`, without the head."""
        rotation = self.rotation(self.positions(ids, past, text_lengths))
        x, wte_cache = self.wte.forward(ids)  # (N, T) -> (N, T, C)
        x, block_caches = self.run_blocks(x, past, rotation=rotation, text_lengths=text_lengths)  # (N, T, C)
        x, rms_f_cache = self.rms_f.forward(x)
        return x, LlamaCache(wte_cache, block_caches, rms_f_cache)

    def backward_hidden(self, dx: Array, cache: LlamaCache) -> None:
        """Backward of `hidden`: add to every trainable p.grad, given the gradient of its result, (N, T, C)."""
        dx = self.rms_f.backward(dx, cache.rms_f)
        dx = self.backward_blocks(dx, cache.blocks, below=self.wte.trainable)
        self.wte.backward(dx, cache.wte)

    def rotation(self, positions: Array) -> tuple[Array, Array]:
        """cos and sin by which all blocks rotate the queries and keys at these positions; see `rope_table`."""
        c = self.config
        frequencies = rope_frequencies(c.head_size, c.rope_theta, c.rope_scaling)  # (K/2,)
        return rope_table(positions, frequencies, self.wte.W.data.dtype)

    def keys_shape(self, length: int) -> tuple[int, int, int]:
        """The shape of a layer's keys, and of its values, for one sequence of this length: (G, length, K)."""
        return self.config.n_kv_head, length, self.config.head_size
