"""Linear: W and bias with the op of `ops/linear.py`."""

from minilora.arrays.backend import Array
from minilora.ops.fast import LinearCache, linear_dbias, linear_dW, linear_dx, linear_forward
from minilora.parameter import Module, Parameter


class Linear(Module):
    """y = x W^T + bias.

    Parameters
    ----------
    W : ndarray of shape (O, I)
    bias : ndarray of shape (O,), optional
    """

    def __init__(self, W: Array, bias: Array | None = None) -> None:
        self.W = Parameter(W)
        self.bias = None if bias is None else Parameter(bias)

    def forward(self, x: Array) -> tuple[Array, LinearCache]:
        """(..., I) -> (..., O). x is only kept for dW, so a frozen W does not keep it, which saves memory."""
        y, cache = linear_forward(x, self.W.data, None if self.bias is None else self.bias.data)
        return y, cache if self.W.trainable else LinearCache(None, cache.W, cache.bias)

    def backward(self, dy: Array, cache: LinearCache) -> Array:
        """(..., O) -> (..., I)"""
        if self.W.trainable:
            if cache.x is None:
                raise ValueError(f"cache was made while {self.W.name or 'W'} was frozen: run forward again")
            self.W.accumulate(linear_dW(dy, cache))
        if self.bias is not None and self.bias.trainable:
            self.bias.accumulate(linear_dbias(dy, cache))
        return linear_dx(dy, cache)
