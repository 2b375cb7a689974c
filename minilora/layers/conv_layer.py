"""DeBERTa-v2's convolution, parallel to the first block: it reads the block's input, and is added to its output.

    y = padding_mask * ln(residual + gelu(conv1d(x)))

with x the embeddings, residual the first block's result, and the mask 1 for tokens and 0 for padding. Because x is zero
at padding, a token gets nothing from there, as from beyond the ends. (transformers also masks the convolution's output;
that changes nothing, because what follows acts on each position by itself.)
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.activation import Activation
from minilora.layers.layernorm import LayerNorm
from minilora.ops.fast import (
    Conv1dCache,
    LayerNormCache,
    conv1d_backward,
    conv1d_forward,
)
from minilora.parameter import Module, Parameter


class ConvLayerCache(NamedTuple):
    conv: Conv1dCache
    activation: Any
    ln: LayerNormCache
    padding_mask: Any  # (N, T, 1) or None


class ConvLayer(Module):
    """y = padding_mask * ln(residual + gelu(conv1d(x))).

    Parameters
    ----------
    W : ndarray of shape (C, C, S)
        S is odd.
    bias : ndarray of shape (C,)
    ln : LayerNorm
    """

    def __init__(self, W: Array, bias: Array, ln: LayerNorm) -> None:
        self.W = Parameter(W)
        self.bias = Parameter(bias)
        self.activation = Activation("gelu")
        self.ln = ln

    def forward(self, x: Array, residual: Array, padding_mask: Array | None = None) -> tuple[Array, ConvLayerCache]:
        """(N, T, C), (N, T, C) -> (N, T, C). The padding_mask is (N, T, 1), of x's dtype; None is 1 everywhere."""
        h, conv_cache = conv1d_forward(x, self.W.data, self.bias.data)
        if not self.W.trainable:
            conv_cache = conv_cache._replace(padded=None)  # no dW
        if not self.bias.trainable:
            conv_cache = conv_cache._replace(bias=None)  # no dbias
        h, activation_cache = self.activation.forward(h)
        y, ln_cache = self.ln.forward(residual + h)
        return hide_padding(y, padding_mask), ConvLayerCache(conv_cache, activation_cache, ln_cache, padding_mask)

    def backward(self, dy: Array, cache: ConvLayerCache) -> tuple[Array, Array]:
        """(N, T, C) -> (N, T, C), (N, T, C): dx and dresidual"""
        # forward: y = padding_mask * ln(sum)   so
        dsum = self.ln.backward(hide_padding(dy, cache.padding_mask), cache.ln)
        # forward: sum = residual + gelu(conv1d(x))   so   dsum is dresidual, and goes on through the GELU
        dh = self.activation.backward(dsum, cache.activation)
        dx, dW, dbias = conv1d_backward(dh, cache.conv)
        self.W.accumulate(dW)
        self.bias.accumulate(dbias)
        return dx, dsum


def hide_padding(x: Array, padding_mask: Array | None) -> Array:
    """x * padding_mask, where None is 1 everywhere."""
    return x if padding_mask is None else x * padding_mask
