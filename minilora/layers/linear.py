"""Linear: W and bias with the op of `ops/linear.py`."""

from minilora.arrays.backend import Array
from minilora.layers.quantized import QuantizedParameter, with_values, without_values
from minilora.ops.fast import LinearCache, linear_backward, linear_forward
from minilora.parameter import Module, Parameter


class Linear(Module):
    """y = x W^T + bias.

    Parameters
    ----------
    W : ndarray of shape (O, I), or Parameter
        A Parameter is shared with whatever else has it: two layers are then tied.
    bias : ndarray of shape (O,), optional
    """

    def __init__(self, W: "Array | Parameter", bias: Array | None = None) -> None:
        self.W = W if isinstance(W, Parameter) else Parameter(W)
        self.bias = None if bias is None else Parameter(bias)

    @property
    def only_W(self) -> Parameter | None:
        """W, if y = x W^T is all that the layer computes; else None."""
        return self.W if self.bias is None else None

    def forward(self, x: Array) -> tuple[Array, LinearCache]:
        """(..., I) -> (..., O)"""
        y, cache = linear_forward(x, self.W.data, None if self.bias is None else self.bias.data)
        return y, without_frozen(cache, self.W, self.bias)

    def products(self) -> tuple[list[tuple[Array, ...]], Array | None]:
        """What `forward` computes, as its matrices: ([(W,)], bias). A pair (A, B) after (W,) adds x A^T B^T."""
        return [(self.W.data,)], None if self.bias is None else self.bias.data

    def cache_of(self, x: Array) -> LinearCache:
        """The cache of `forward`, for which nothing need be multiplied."""
        bias = None if self.bias is None else self.bias.data
        W = self.W if isinstance(self.W, QuantizedParameter) else self.W.data
        return without_frozen(LinearCache(x, W, bias), self.W, self.bias)

    def backward(self, dy: Array, cache: LinearCache) -> Array:
        """(..., O) -> (..., I)"""
        dx, dW, dbias = linear_backward(dy, with_values(cache))
        self.W.accumulate(dW)
        if self.bias is not None:
            self.bias.accumulate(dbias)
        return dx


def without_frozen(cache: LinearCache, W: Parameter, bias: Parameter | None = None) -> LinearCache:
    """The cache as a backward needs it: a frozen W gets no dW, so x is not kept, and a frozen bias no dbias."""
    trains_bias = bias is not None and bias.trainable
    cache = LinearCache(cache.x if W.trainable else None, cache.W, cache.bias if trains_bias else None)
    return without_values(cache, W)
