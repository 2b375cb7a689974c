"""One transformer block of DeBERTa: BERT's (`layers/post_ln_block.py`), but attention sees relative embeddings too."""

from minilora.arrays.backend import Array
from minilora.layers.post_ln_block import PostLNBlock, PostLNBlockCache


class DebertaBlock(PostLNBlock):
    """ln_1(x + attn(x, relative)), then ln_2(x + mlp(x)).

    Parameters
    ----------
    attn : DisentangledSelfAttention
    ln_1, ln_2 : LayerNorm
    mlp : MLP
    """

    def backward(self, dy: Array, cache: PostLNBlockCache) -> tuple[Array, Array]:
        """(N, T, C) -> (N, T, C), (M, C): dx and drelative"""
        # forward: y = ln_2(sum), sum = x + mlp(x)   so   the sum's gradient reaches x directly and through the MLP
        dsum = self.ln_2.backward(dy, cache.ln_2)
        dx = self.mlp.backward(dsum, cache.mlp)
        dx += dsum
        # forward: x = ln_1(sum), sum = x + attn(x, relative)   so
        dsum = self.ln_1.backward(dx, cache.ln_1)
        dx, drelative = self.attn.backward(dsum, cache.attn)
        dx += dsum
        return dx, drelative
