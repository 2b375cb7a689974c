"""The MLP of a transformer block: fc_in, an activation, fc_out."""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.activation import Activation
from minilora.layers.linear import Linear
from minilora.parameter import Module


class MLPCache(NamedTuple):
    fc_in: Any
    activation: Any
    fc_out: Any


class MLP(Module):
    """y = fc_out(activation(fc_in(x))), position by position: (N, T, C) -> (N, T, F) -> (N, T, C).

    Parameters
    ----------
    fc_in : Linear, C -> F
    fc_out : Linear, F -> C
    activation : str
        A name that `Activation` takes: "gelu_tanh" is GPT-2's, "gelu" that of BERT and RoBERTa.
    """

    def __init__(self, fc_in: Linear, fc_out: Linear, activation: str) -> None:
        self.fc_in = fc_in
        self.activation = Activation(activation)
        self.fc_out = fc_out

    def forward(self, x: Array) -> tuple[Array, MLPCache]:
        """(N, T, C) -> (N, T, C)"""
        h, caches = self._hidden(x)  # (N, T, C) -> (N, T, F)
        y, fc_out_cache = self.fc_out.forward(h)  # (N, T, F) -> (N, T, C)
        return y, MLPCache(*caches, fc_out_cache)

    def cache_of(self, x: Array) -> MLPCache:
        """The cache of `forward`, without the last product."""
        h, caches = self._hidden(x)  # (N, T, C) -> (N, T, F)
        return MLPCache(*caches, self.fc_out.cache_of(h))

    def _hidden(self, x: Array) -> tuple[Array, tuple[Any, Any]]:
        """What fc_out reads, and two caches: (N, T, C) -> (N, T, F)"""
        h, fc_in_cache = self.fc_in.forward(x)  # (N, T, C) -> (N, T, F)
        h, activation_cache = self.activation.forward(h)
        return h, (fc_in_cache, activation_cache)

    def backward(self, dy: Array, cache: MLPCache) -> Array:
        """(N, T, C) -> (N, T, C)"""
        # forward: y = fc_out(activation(fc_in(x)))   so
        dh = self.fc_out.backward(dy, cache.fc_out)  # (N, T, C) -> (N, T, F)
        dh = self.activation.backward(dh, cache.activation)
        return self.fc_in.backward(dh, cache.fc_in)  # (N, T, F) -> (N, T, C)
