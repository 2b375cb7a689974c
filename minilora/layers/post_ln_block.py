"""One transformer block of BERT and RoBERTa: attend, add, normalise; MLP, add, normalise (post-LN).

GPT-2's block (`layers/block.py`) has the same parts in another order: there, the sum x + ... runs through the network
untouched, and only the input of each layer is normalised. Here the sum itself is normalised, twice per block, so that
the gradient passes through every LayerNorm on its way down.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.layernorm import LayerNorm
from minilora.layers.mlp import MLP, MLPCache
from minilora.ops.fast import LayerNormCache
from minilora.parameter import Module


class PostLNBlockCache(NamedTuple):
    attn: Any  # that of the block's attention
    ln_1: LayerNormCache
    mlp: MLPCache
    ln_2: LayerNormCache


class PostLNBlock(Module):
    """ln_1(x + attn(x)), then ln_2(x + mlp(x)).

    Parameters
    ----------
    attn : SelfAttention
    ln_1, ln_2 : LayerNorm
    mlp : MLP
    """

    def __init__(self, attn: Any, ln_1: LayerNorm, mlp: MLP, ln_2: LayerNorm) -> None:
        self.attn = attn
        self.ln_1 = ln_1
        self.mlp = mlp
        self.ln_2 = ln_2

    def forward(self, x: Array, **attention: Any) -> tuple[Array, PostLNBlockCache]:
        """(N, T, C) -> (N, T, C); `attention` is what attn.forward takes next to x, such as padding_mask."""
        h, attn_cache = self.attn.forward(x, **attention)
        h += x  # x + attn(x), in the array that attn has made
        x, ln_1_cache = self.ln_1.forward(h)
        h, mlp_cache = self.mlp.forward(x)
        h += x  # x + mlp(x)
        y, ln_2_cache = self.ln_2.forward(h)
        return y, PostLNBlockCache(attn_cache, ln_1_cache, mlp_cache, ln_2_cache)

    def backward(self, dy: Array, cache: PostLNBlockCache) -> Any:
        """(N, T, C) -> (N, T, C)"""
        # forward: y = ln_2(sum), sum = x + mlp(x)   so   the sum's gradient reaches x directly and through the MLP
        dsum = self.ln_2.backward(dy, cache.ln_2)
        dx = self.mlp.backward(dsum, cache.mlp)
        dx += dsum
        # forward: x = ln_1(sum), sum = x + attn(x)   so
        dsum = self.ln_1.backward(dx, cache.ln_1)
        dx = self.attn.backward(dsum, cache.attn)
        dx += dsum
        return dx
