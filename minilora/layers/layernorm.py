"""LayerNorm: gain and bias with the op of `ops/layernorm.py`."""

from minilora.arrays.backend import Array
from minilora.ops.fast import LayerNormCache, layernorm_backward, layernorm_forward
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
        frozen = tuple(name for name, p in self.members() if not p.trainable)
        dx, dgain, dbias = layernorm_backward(dy, cache._replace(frozen=frozen))
        self.gain.accumulate(dgain)
        self.bias.accumulate(dbias)
        return dx
