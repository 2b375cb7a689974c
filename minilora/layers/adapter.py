"""Adapters (Houlsby et al., 2019): a narrow MLP behind a frozen layer, with a shortcut around it.

    y = h + up(gelu(down(h))),   down: C -> r,  up: r -> C,  both with a bias

`up` starts as zero, and so y = h at the start. Unlike LoRA's product, the adapter cannot be merged into the layer: a
nonlinearity stands between down and up, and it has to wait for h. That wait is the latency of the paper's table 1.
"""

from typing import Any, NamedTuple

from minilora.layers.activation import Activation
from minilora.layers.layernorm import LayerNorm
from minilora.layers.linear import Linear
from minilora.ops import LayerNormCache, LinearCache
from minilora.parameter import Module


class AdapterCache(NamedTuple):
    ln: LayerNormCache | None
    down: LinearCache
    activation: Any
    up: LinearCache


class Adapter(Module):
    """up(gelu(down(h))), or up(gelu(down(ln(h)))), to be added to h.

    Parameters
    ----------
    down : Linear, C -> r
    up : Linear, r -> C
    ln : LayerNorm, optional
    """

    def __init__(self, down: Linear, up: Linear, ln: LayerNorm | None = None):
        self.ln = ln
        self.down = down
        self.activation = Activation("gelu_tanh")
        self.up = up

    def forward(self, h):
        """(..., C) -> (..., C)"""
        ln_cache = None
        if self.ln is not None:
            h, ln_cache = self.ln.forward(h)
        h, down_cache = self.down.forward(h)  # (..., C) -> (..., r)
        h, activation_cache = self.activation.forward(h)
        y, up_cache = self.up.forward(h)  # (..., r) -> (..., C)
        return y, AdapterCache(ln_cache, down_cache, activation_cache, up_cache)

    def backward(self, dy, cache):
        """(..., C) -> (..., C)"""
        # forward: y = up(gelu(down(ln(h))))   so
        dh = self.up.backward(dy, cache.up)  # (..., C) -> (..., r)
        dh = self.activation.backward(dh, cache.activation)
        dh = self.down.backward(dh, cache.down)  # (..., r) -> (..., C)
        return dh if self.ln is None else self.ln.backward(dh, cache.ln)


class AdaptedSublayerCache(NamedTuple):
    base: Any
    adapter: AdapterCache

    @property
    def probs(self):
        """Who looks at whom, where the sublayer is an attention."""
        return self.base.probs


class AdaptedSublayer(Module):
    """y = h + adapter(h) with h = base(x): a sublayer of any block, with an adapter between it and what follows.

    Parameters
    ----------
    base : Module
        An attention or MLP; whatever else its forward takes (an rng, a past, a mask) is passed on to it.
    adapter : Adapter
    """

    def __init__(self, base: Module, adapter: Adapter):
        self.base = base
        self.adapter = adapter

    def forward(self, x, *args, **options):
        """(N, T, C) -> (N, T, C)"""
        h, base_cache = self.base.forward(x, *args, **options)
        added, adapter_cache = self.adapter.forward(h)
        return h + added, AdaptedSublayerCache(base_cache, adapter_cache)

    def backward(self, dy, cache):
        """(N, T, C) -> what the base's backward gives: (N, T, C), and DeBERTa's drelative beside it."""
        # forward: y = h + adapter(h)   so   dy reaches h both directly and through the adapter
        dh = dy + self.adapter.backward(dy, cache.adapter)
        return self.base.backward(dh, cache.base)
