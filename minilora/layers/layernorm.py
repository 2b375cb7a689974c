"""LayerNorm: gain and bias with the op of `ops/layernorm.py`."""

from typing import Any

from minilora.arrays.backend import Array
from minilora.ops.fast import layernorm_backward, layernorm_forward
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
        frozen = tuple(name for name, p in self.members() if not p.trainable)
        dx, dgain, dbias = layernorm_backward(dy, cache._replace(frozen=frozen))
        self.gain.accumulate(dgain)
        self.bias.accumulate(dbias)
        return dx
