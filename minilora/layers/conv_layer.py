"""DeBERTa-v2's convolution beside the first block: it reads what the block reads, and is added to what the block says.

    y = mask * ln(residual + gelu(conv1d(x)))

with x the embeddings, residual the first block's result, and the mask 1 for tokens and 0 for padding. As x is zero
where padding is, a token takes in from there what it takes in from beyond the end: nothing. (transformers masks what
comes out of the convolution, too; that changes nothing, for what follows acts position by position.)
"""

from typing import Any, NamedTuple

from minilora.ops.fast import (
    Conv1dCache,
    GeluCache,
    LayerNormCache,
    conv1d_dbias,
    conv1d_dW,
    conv1d_dx,
    conv1d_forward,
    gelu_exact_backward,
    gelu_exact_forward,
)
from minilora.parameter import Module, Parameter


class ConvLayerCache(NamedTuple):
    conv: Conv1dCache
    gelu: GeluCache
    ln: LayerNormCache
    mask: Any  # (N, T, 1) or None


class ConvLayer(Module):
    """y = mask * ln(residual + gelu(conv1d(x))).

    Parameters
    ----------
    W : ndarray of shape (C, C, S)
        S is odd.
    bias : ndarray of shape (C,)
    ln : LayerNorm
    """

    def __init__(self, W, bias, ln):
        self.W = Parameter(W)
        self.bias = Parameter(bias)
        self.ln = ln

    def forward(self, x, residual, mask=None):
        """(N, T, C), (N, T, C) -> (N, T, C). The mask is (N, T, 1), of x's dtype; None is 1 everywhere."""
        h, conv_cache = conv1d_forward(x, self.W.data, self.bias.data)
        h, gelu_cache = gelu_exact_forward(h)
        y, ln_cache = self.ln.forward(residual + h)
        return times(y, mask), ConvLayerCache(conv_cache, gelu_cache, ln_cache, mask)

    def backward(self, dy, cache):
        """(N, T, C) -> (N, T, C), (N, T, C): dx and dresidual"""
        # forward: y = mask * ln(sum)   so
        dsum = self.ln.backward(times(dy, cache.mask), cache.ln)
        # forward: sum = residual + gelu(conv1d(x))   so   dsum is dresidual, and goes on through the GELU
        dh = gelu_exact_backward(dsum, cache.gelu)
        if self.W.trainable:
            self.W.accumulate(conv1d_dW(dh, cache.conv))
        if self.bias.trainable:
            self.bias.accumulate(conv1d_dbias(dh, cache.conv))
        return conv1d_dx(dh, cache.conv), dsum


def times(x, mask):
    """x * mask, where None is 1 everywhere."""
    return x if mask is None else x * mask
