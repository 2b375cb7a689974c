"""One transformer block of DeBERTa: BERT's (`layers/post_ln_block.py`), but attention sees relative embeddings too."""

from minilora.layers.post_ln_block import PostLNBlock


class DebertaBlock(PostLNBlock):
    """ln_1(x + attn(x, relative)), then ln_2(x + mlp(x)).

    Parameters
    ----------
    attn : DisentangledSelfAttention
    ln_1, ln_2 : LayerNorm
    mlp : MLP
    """

    def backward(self, dy, cache, need_dx=True, need_drelative=True):
        """(N, T, C) -> (N, T, C), (M, C): dx and drelative, each None if not needed."""
        below_ln_1 = need_dx or need_drelative or self.attn.trainable
        attn_half = below_ln_1 or self.ln_1.trainable
        dx = self._backward_half(self.mlp, self.ln_2, dy, cache.mlp, cache.ln_2, attn_half)
        if not attn_half:
            return None, None
        dsum = self.ln_1.backward(dx, cache.ln_1, need_dx=below_ln_1)
        if not below_ln_1:
            return None, None
        dx, drelative = self.attn.backward(dsum, cache.attn, need_dx, need_drelative)
        # forward: y = ln_1(x + attn(x, relative))   so   the sum's gradient reaches x directly and through attn
        return dsum + dx if need_dx else None, drelative
