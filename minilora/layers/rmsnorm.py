"""RMSNorm: a gain with the op of `ops/rmsnorm.py`."""

from minilora.arrays.backend import Array
from minilora.ops.fast import RMSNormCache, rmsnorm_backward, rmsnorm_forward
from minilora.parameter import Module, Parameter


class RMSNorm(Module):
    """y = gain * x / sqrt(mean(x^2) + eps), over the last axis.

    Parameters
    ----------
    gain : ndarray of shape (C,)
    eps : float
    """

    def __init__(self, gain: Array, eps: float = 1e-5) -> None:
        self.gain = Parameter(gain)
        self.eps = eps

    def forward(self, x: Array) -> tuple[Array, RMSNormCache]:
        """(..., C) -> (..., C)"""
        return rmsnorm_forward(x, self.gain.data, self.eps)

    def again(self, cache: RMSNormCache) -> Array:
        """What forward returned, from its cache, to the bit: (..., C)"""
        return cache.xhat * cache.gain

    def backward(self, dy: Array, cache: RMSNormCache) -> Array:
        """(..., C) -> (..., C)"""
        dx, dgain = rmsnorm_backward(dy, cache if self.gain.trainable else cache._replace(frozen=("gain",)))
        self.gain.accumulate(dgain)
        return dx
