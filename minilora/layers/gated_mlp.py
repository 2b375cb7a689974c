"""The gated MLP of a Llama block: two maps up, one of which gates the other, and one map down (Shazeer, 2020)."""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.linear import Linear
from minilora.layers.made_again import forget, put_back
from minilora.ops.fast import silu_gate_backward, silu_gate_forward
from minilora.parameter import Module


class GatedMLPCache(NamedTuple):
    gate_proj: Any
    up_proj: Any
    silu_gate: Any  # a SiluGateCache
    down_proj: Any


class GatedMLP(Module):
    """y = down_proj(silu(gate_proj(x)) * up_proj(x)), position by position: (N, T, C) -> (N, T, F) -> (N, T, C).

    Parameters
    ----------
    gate_proj, up_proj : Linear, C -> F
    down_proj : Linear, F -> C
    """

    def __init__(self, gate_proj: Linear, up_proj: Linear, down_proj: Linear) -> None:
        self.gate_proj = gate_proj
        self.up_proj = up_proj
        self.down_proj = down_proj

    def forward(self, x: Array) -> tuple[Array, GatedMLPCache]:
        """(N, T, C) -> (N, T, C)"""
        h, caches = self._gated(x)  # (N, T, C) -> (N, T, F)
        y, down_cache = self.down_proj.forward(h)  # (N, T, F) -> (N, T, C)
        return y, GatedMLPCache(*caches, forget(down_cache, h, "silu(gate) * up"))

    def cache_of(self, x: Array) -> GatedMLPCache:
        """The cache of `forward`, without the last product."""
        h, caches = self._gated(x)  # (N, T, C) -> (N, T, F)
        return GatedMLPCache(*caches, forget(self.down_proj.cache_of(h), h, "silu(gate) * up"))

    def _gated(self, x: Array) -> tuple[Array, tuple[Any, Any, Any]]:
        """What down_proj reads, and three caches: (N, T, C) -> (N, T, F)"""
        gate, gate_cache = self.gate_proj.forward(x)  # (N, T, C) -> (N, T, F)
        up, up_cache = self.up_proj.forward(x)  # (N, T, C) -> (N, T, F)
        h, silu_gate_cache = silu_gate_forward(gate, up)  # (N, T, F)
        return h, (gate_cache, up_cache, silu_gate_cache)

    def backward(self, dy: Array, cache: GatedMLPCache) -> Array:
        """(N, T, C) -> (N, T, C)"""
        # forward: y = down_proj(h)   so
        down_cache = put_back(cache.down_proj, "silu(gate) * up", lambda: silu_gate_forward(*cache.silu_gate)[0])
        dh = self.down_proj.backward(dy, down_cache)  # (N, T, C) -> (N, T, F)
        # forward: h = silu(gate) * up   so
        dgate, dup = silu_gate_backward(dh, cache.silu_gate)  # (N, T, F)
        # forward: gate = gate_proj(x), up = up_proj(x)   so   two gradients reach one x
        dx = self.gate_proj.backward(dgate, cache.gate_proj)  # (N, T, F) -> (N, T, C)
        dx += self.up_proj.backward(dup, cache.up_proj)
        return dx
