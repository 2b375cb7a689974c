"""LayerNorm: gain and bias with the op of `ops/layernorm.py`."""

from typing import Any

from minilora.arrays.backend import Array
from minilora.ops.fast import layernorm_dbias, layernorm_dgain, layernorm_dx, layernorm_forward
from minilora.parameter import Module, Parameter


class LayerNorm(Module):
    """y = gain * (x - mean) / sqrt(var + eps) + bias, over the last axis.

    Parameters
    ----------
    gain, bias : ndarray of shape (C,)
    eps : float
    """

    def __init__(self, gain, bias, eps=1e-5):
        self.gain = Parameter(gain)
        self.bias = Parameter(bias)
        self.eps = eps

    def forward(self, x: Array) -> tuple[Array, Any]:
        """(..., C) -> (..., C)"""
        return layernorm_forward(x, self.gain.data, self.bias.data, self.eps)

    def backward(self, dy: Array, cache: Any) -> Array:
        """(..., C) -> (..., C)"""
        if self.gain.trainable:
            self.gain.accumulate(layernorm_dgain(dy, cache))
        if self.bias.trainable:
            self.bias.accumulate(layernorm_dbias(dy, cache))
        return layernorm_dx(dy, cache)
