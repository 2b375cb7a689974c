"""LayerNorm: gain and bias with the op of `ops/layernorm.py`."""

from minilora.arrays.backend import Array
from minilora.ops.fast import LayerNormCache, layernorm_dbias, layernorm_dgain, layernorm_dx, layernorm_forward
from minilora.parameter import Module, Parameter


class LayerNorm(Module):
    """y = gain * (x - mean) / sqrt(var + eps) + bias, over the last axis.

    Parameters
    ----------
    gain, bias : ndarray of shape (C,)
    eps : float
    """

    def __init__(self, gain: Array, bias: Array, eps: float = 1e-5) -> None:
        self.gain = Parameter(gain)
        self.bias = Parameter(bias)
        self.eps = eps

    def forward(self, x: Array) -> tuple[Array, LayerNormCache]:
        """(..., C) -> (..., C)"""
        return layernorm_forward(x, self.gain.data, self.bias.data, self.eps)

    def backward(self, dy: Array, cache: LayerNormCache) -> Array:
        """(..., C) -> (..., C)"""
        if self.gain.trainable:
            self.gain.accumulate(layernorm_dgain(dy, cache))
        if self.bias.trainable:
            self.bias.accumulate(layernorm_dbias(dy, cache))
        return layernorm_dx(dy, cache)
