"""One transformer block of Llama: GPT-2's arrangement (`layers/block.py`), with RMSNorm and a gated MLP."""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.attention import KeyValueCache, SelfAttention, SelfAttentionCache
from minilora.layers.gated_mlp import GatedMLP, GatedMLPCache
from minilora.layers.made_again import forget, put_back
from minilora.layers.rmsnorm import RMSNorm
from minilora.ops.fast import RMSNormCache
from minilora.parameter import Module


class LlamaBlockCache(NamedTuple):
    rms_1: RMSNormCache
    attn: SelfAttentionCache
    rms_2: RMSNormCache
    mlp: GatedMLPCache


class LlamaBlock(Module):
    """x + attn(rms_1(x)), then x + mlp(rms_2(x)).

    Parameters
    ----------
    rms_1, rms_2 : RMSNorm
    attn : SelfAttention
    mlp : GatedMLP
    """

    def __init__(self, rms_1: RMSNorm, attn: SelfAttention, rms_2: RMSNorm, mlp: GatedMLP) -> None:
        self.rms_1 = rms_1
        self.attn = attn
        self.rms_2 = rms_2
        self.mlp = mlp

    def forward(self, x: Array, past: KeyValueCache | None = None, **attention: Any) -> tuple[Array, LlamaBlockCache]:
        """(N, T, C) -> (N, T, C); `attention` is what attn.forward takes besides: rotation, text_lengths."""
        y, h, caches = self._attend(x, past, **attention)
        z, mlp_cache = self.mlp.forward(h)
        z += y  # z = y + mlp(rms_2(y))
        return z, LlamaBlockCache(*caches, forget(mlp_cache, h, "rms_2(y)"))

    def cache_of(self, x: Array, **attention: Any) -> LlamaBlockCache:
        """The cache of `forward`, without the last product of the MLP."""
        _, h, caches = self._attend(x, None, **attention)
        return LlamaBlockCache(*caches, forget(self.mlp.cache_of(h), h, "rms_2(y)"))

    def _attend(
        self, x: Array, past: KeyValueCache | None, **attention: Any
    ) -> tuple[Array, Array, tuple[Any, Any, Any]]:
        """y, what the MLP reads, and three caches: (N, T, C) -> (N, T, C), (N, T, C)"""
        h, rms_1_cache = self.rms_1.forward(x)
        y, attn_cache = self.attn.forward(h, past, **attention)
        attn_cache = forget(attn_cache, h, "rms_1(x)")
        y += x  # y = x + attn(rms_1(x)), in the array that attn has made
        h, rms_2_cache = self.rms_2.forward(y)
        return y, h, (rms_1_cache, attn_cache, rms_2_cache)

    def backward(self, dz: Array, cache: LlamaBlockCache) -> Array:
        """(N, T, C) -> (N, T, C)"""
        # forward: z = y + mlp(rms_2(y))   so   dz reaches y both directly and through the MLP
        mlp_cache = put_back(cache.mlp, "rms_2(y)", lambda: self.rms_2.again(cache.rms_2))
        dy = self.rms_2.backward(self.mlp.backward(dz, mlp_cache), cache.rms_2)
        dy += dz
        # forward: y = x + attn(rms_1(x))   so
        attn_cache = put_back(cache.attn, "rms_1(x)", lambda: self.rms_1.again(cache.rms_1))
        dx = self.rms_1.backward(self.attn.backward(dy, attn_cache), cache.rms_1)
        dx += dy
        return dx
