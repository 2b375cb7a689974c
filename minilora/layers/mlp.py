"""The MLP of a transformer block: fc_in, GELU, fc_out."""

from typing import NamedTuple

from minilora.ops.fast import (
    GeluCache,
    LinearCache,
    gelu_exact_backward,
    gelu_exact_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
)
from minilora.parameter import Module


class MLPCache(NamedTuple):
    fc_in: LinearCache
    gelu: GeluCache
    fc_out: LinearCache


class MLP(Module):
    """y = fc_out(gelu(fc_in(x))), position by position: (N, T, C) -> (N, T, F) -> (N, T, C).

    Parameters
    ----------
    fc_in : Linear, C -> F
    fc_out : Linear, F -> C
    gelu : {"tanh", "exact"}
        GPT-2's form, or that of BERT and RoBERTa.
    """

    def __init__(self, fc_in, fc_out, gelu="tanh"):
        if gelu not in ("tanh", "exact"):
            raise ValueError(f"gelu was {gelu!r}; it may be 'tanh' or 'exact'")
        self.fc_in = fc_in
        self.fc_out = fc_out
        self.gelu = gelu

    def forward(self, x, rng=None):
        """(N, T, C) -> (N, T, C)"""
        h, fc_in_cache = self.fc_in.forward(x, rng)  # (N, T, C) -> (N, T, F)
        gelu_forward = gelu_tanh_forward if self.gelu == "tanh" else gelu_exact_forward
        h, gelu_cache = gelu_forward(h)
        y, fc_out_cache = self.fc_out.forward(h, rng)  # (N, T, F) -> (N, T, C)
        return y, MLPCache(fc_in_cache, gelu_cache, fc_out_cache)

    def backward(self, dy, cache):
        """(N, T, C) -> (N, T, C)"""
        # forward: y = fc_out(gelu(fc_in(x)))   so
        dh = self.fc_out.backward(dy, cache.fc_out)  # (N, T, C) -> (N, T, F)
        gelu_backward = gelu_tanh_backward if self.gelu == "tanh" else gelu_exact_backward
        dh = gelu_backward(dh, cache.gelu)
        return self.fc_in.backward(dh, cache.fc_in)  # (N, T, F) -> (N, T, C)
