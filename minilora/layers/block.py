"""One transformer block of GPT-2: normalise, attend, add; normalise, MLP, add (pre-LN)."""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.attention import KeyValueCache, SelfAttention, SelfAttentionCache
from minilora.layers.layernorm import LayerNorm
from minilora.layers.mlp import MLP, MLPCache
from minilora.ops.fast import LayerNormCache
from minilora.parameter import Module


class BlockCache(NamedTuple):
    ln_1: LayerNormCache
    attn: SelfAttentionCache
    ln_2: LayerNormCache
    mlp: MLPCache


class Block(Module):
    """x + attn(ln_1(x)), then x + mlp(ln_2(x)).

    Parameters
    ----------
    ln_1, ln_2 : LayerNorm
    attn : SelfAttention
    mlp : MLP
    """

    def __init__(self, ln_1: LayerNorm, attn: SelfAttention, ln_2: LayerNorm, mlp: MLP) -> None:
        self.ln_1 = ln_1
        self.attn = attn
        self.ln_2 = ln_2
        self.mlp = mlp

    def forward(self, x: Array, past: KeyValueCache | None = None, **attention: Any) -> tuple[Array, BlockCache]:
        """(N, T, C) -> (N, T, C); `attention` is what attn.forward takes besides, such as text_lengths."""
        y, h, caches = self._attend(x, past, **attention)
        z, mlp_cache = self.mlp.forward(h)
        z += y  # z = y + mlp(ln_2(y))
        return z, BlockCache(*caches, mlp_cache)

    def cache_of(self, x: Array, **attention: Any) -> BlockCache:
        """The cache of `forward`, without the last product of the MLP."""
        _, h, caches = self._attend(x, None, **attention)
        return BlockCache(*caches, self.mlp.cache_of(h))

    def _attend(
        self, x: Array, past: KeyValueCache | None, **attention: Any
    ) -> tuple[Array, Array, tuple[Any, Any, Any]]:
        """y, what the MLP reads, and three caches: (N, T, C) -> (N, T, C), (N, T, C)"""
        h, ln_1_cache = self.ln_1.forward(x)
        y, attn_cache = self.attn.forward(h, past, **attention)
        y += x  # y = x + attn(ln_1(x)), in the array that attn has made
        h, ln_2_cache = self.ln_2.forward(y)
        return y, h, (ln_1_cache, attn_cache, ln_2_cache)

    def backward(self, dz: Array, cache: BlockCache) -> Array:
        """(N, T, C) -> (N, T, C)"""
        # forward: z = y + mlp(ln_2(y))   so   dz reaches y both directly and through the MLP
        dy = self.ln_2.backward(self.mlp.backward(dz, cache.mlp), cache.ln_2)
        dy += dz
        # forward: y = x + attn(ln_1(x))   so
        dx = self.ln_1.backward(self.attn.backward(dy, cache.attn), cache.ln_1)
        dx += dy
        return dx
