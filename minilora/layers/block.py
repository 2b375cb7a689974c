"""One transformer block of GPT-2: normalise, attend, add; normalise, MLP, add (pre-LN)."""

from typing import NamedTuple

from minilora.layers.attention import SelfAttentionCache
from minilora.layers.mlp import MLPCache
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

    def __init__(self, ln_1, attn, ln_2, mlp):
        self.ln_1 = ln_1
        self.attn = attn
        self.ln_2 = ln_2
        self.mlp = mlp

    def forward(self, x, rng=None, past=None):
        """(N, T, C) -> (N, T, C)"""
        h, ln_1_cache = self.ln_1.forward(x)
        y, attn_cache = self.attn.forward(h, rng, past)
        y += x  # y = x + attn(ln_1(x)), in the array that attn has made
        h, ln_2_cache = self.ln_2.forward(y)
        z, mlp_cache = self.mlp.forward(h, rng)
        z += y  # z = y + mlp(ln_2(y))
        return z, BlockCache(ln_1_cache, attn_cache, ln_2_cache, mlp_cache)

    def backward(self, dy, cache, need_dx=True):
        """(N, T, C) -> (N, T, C)"""
        attn_half = need_dx or self.ln_1.trainable or self.attn.trainable
        dx = self._backward_half(self.ln_2, self.mlp, dy, cache.ln_2, cache.mlp, attn_half)
        if not attn_half:
            return None
        return self._backward_half(self.ln_1, self.attn, dx, cache.ln_1, cache.attn, need_dx)

    @staticmethod
    def _backward_half(ln, layer, dy, ln_cache, layer_cache, need_dx):
        below_layer = need_dx or ln.trainable
        if not (below_layer or layer.trainable):
            return None
        dh = layer.backward(dy, layer_cache, need_dx=below_layer)
        if not below_layer:
            return None
        dx = ln.backward(dh, ln_cache, need_dx)
        # forward: y = x + layer(ln(x))   so   dy reaches x both directly and through the layer
        if need_dx:
            dx += dy
        return dx
