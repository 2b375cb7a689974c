"""Houlsby's adapters (Houlsby et al., 2019, and after): small trained layers between the frozen ones.

    y = h + up(gelu(down(h))),   down: C -> r,  up: r -> C,  both with a bias

`up` starts as zero, so y = h at the start. Unlike LoRA's product, this cannot be merged into the layer: there is a
nonlinearity between down and up, and it has to wait for h. That wait is the latency in the paper's table 1.

The paper counts them as |Theta| = L_adapters (2 d r + r + d) + L_LN 2 d (section 5.1), and compares four kinds:

    Adapter^H   Houlsby et al., 2019     after the attention and after the MLP           2 per block
    Adapter^L   Lin et al., 2020         after the MLP, with a LayerNorm of its own      1 per block, and 1 LayerNorm
    Adapter^P   Pfeiffer et al., 2021    after the MLP                                   1 per block
    Adapter^D   Rücklé et al., 2021      AdapterDrop: none in the first blocks, in training and after

Adapter^D is Adapter^P here, because the paper's counts of it, 0.3M and 0.9M for RoBERTa base, are those of one adapter
per block, r = 16 and 48. Below the first adapter nothing is trained, so nothing is differentiated.

All of them come before the residual connection is added, as the paper describes. Where the sources differ in details
(ReLU or GELU, where a post-LN block normalises), this is one form for all.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import Array
from minilora.layers import Activation, LayerNorm, Linear
from minilora.methods.selection import block_paths, check_integer, copies, new_array, new_parameters
from minilora.methods.state import NamedAdapter
from minilora.methods.switching import add_adapter, check_new_name, set_adapter
from minilora.models.model import Model
from minilora.ops.fast import LinearCache
from minilora.parameter import Module


class HoulsbyCache(NamedTuple):
    ln: Any  # a LayerNormCache; None without a LayerNorm
    down: LinearCache
    activation: Any
    up: LinearCache


class Houlsby(Module):
    """up(gelu(down(h))), or up(gelu(down(ln(h)))), to be added to h.

    Parameters
    ----------
    down : Linear, C -> r
    up : Linear, r -> C
    ln : LayerNorm, optional
    """

    def __init__(self, down: Linear, up: Linear, ln: LayerNorm | None = None) -> None:
        self.ln = ln
        self.down = down
        self.activation = Activation("gelu_tanh")
        self.up = up

    def forward(self, h: Array) -> tuple[Array, HoulsbyCache]:
        """(..., C) -> (..., C)"""
        ln_cache = None
        if self.ln is not None:
            h, ln_cache = self.ln.forward(h)
        h, down_cache = self.down.forward(h)  # (..., C) -> (..., r)
        h, activation_cache = self.activation.forward(h)
        y, up_cache = self.up.forward(h)  # (..., r) -> (..., C)
        return y, HoulsbyCache(ln_cache, down_cache, activation_cache, up_cache)

    def backward(self, dy: Array, cache: HoulsbyCache) -> Array:
        """(..., C) -> (..., C)"""
        # forward: y = up(gelu(down(ln(h))))   so
        dh = self.up.backward(dy, cache.up)  # (..., C) -> (..., r)
        dh = self.activation.backward(dh, cache.activation)
        dh = self.down.backward(dh, cache.down)  # (..., r) -> (..., C)
        return dh if self.ln is None else self.ln.backward(dh, cache.ln)


class HoulsbySublayerCache(NamedTuple):
    base: Any
    adapter: HoulsbyCache

    @property
    def probs(self) -> Array:
        """Who looks at whom, if the sublayer is an attention."""
        return self.base.probs


class HoulsbySublayer(Module):
    """y = h + adapter(h) with h = base(x): a sublayer of any block, with an adapter between it and what follows.

    Parameters
    ----------
    base : Module
        An attention or MLP; whatever else its forward takes (a past, a mask) is passed on to it.
    adapter : Houlsby
    """

    def __init__(self, base: Any, adapter: Houlsby) -> None:
        self.base = base
        self.adapter = adapter

    def forward(self, x: Array, *args: Any, **options: Any) -> tuple[Array, HoulsbySublayerCache]:
        """(N, T, C) -> (N, T, C)"""
        h, base_cache = self.base.forward(x, *args, **options)
        added, adapter_cache = self.adapter.forward(h)
        return h + added, HoulsbySublayerCache(base_cache, adapter_cache)

    def backward(self, dy: Array, cache: HoulsbySublayerCache) -> Any:
        """(N, T, C) -> what the base's backward returns: (N, T, C), for DeBERTa together with drelative."""
        # forward: y = h + adapter(h)   so   dy reaches h both directly and through the adapter
        dh = dy + self.adapter.backward(dy, cache.adapter)
        return self.base.backward(dh, cache.base)


SUBLAYERS = {"houlsby": ("attn", "mlp"), "lin": ("mlp",), "pfeiffer": ("mlp",)}


@dataclass(frozen=True)
class HoulsbyConfig:
    """Which adapters, and where.

    Parameters
    ----------
    kind : {"houlsby", "lin", "pfeiffer"}
    size : int
        r, the width of the bottleneck.
    leave_out : int
        AdapterDrop: how many of the first blocks have no adapter.
    """

    kind: str = "houlsby"
    size: int = 8
    leave_out: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SUBLAYERS:
            raise ValueError(f"kind was {self.kind!r}; it must be one of {', '.join(map(repr, SUBLAYERS))}")
        check_integer("size", self.size)
        check_integer("leave_out", self.leave_out, least=0)


def apply_houlsby(model: Model, config: HoulsbyConfig, *, rng: numpy.random.Generator, name: str = "adapter") -> None:
    """Put adapters into a model, in place, and freeze everything else. At the start they change nothing.

    Parameters
    ----------
    model : Model
        A model with blocks that have an `attn` and an `mlp`, whatever else is in them.
    config : HoulsbyConfig
    rng : numpy.random.Generator
        Draws each `down`: U(-1/sqrt(C), 1/sqrt(C)), as LoRA's A. `up` and the biases are zero.
    name : str
        The name of all of them together.

    Raises
    ------
    ValueError
        If no block is left for one, `size` is not a bottleneck, or the name is taken. The model is then unchanged.
    """
    blocks = block_paths(model)
    if config.leave_out >= len(blocks):
        raise ValueError(f"leave_out was {config.leave_out}; it must be from 0 to {len(blocks) - 1}")
    if config.size > model.config.d_model:
        raise ValueError(f"size was {config.size}; it must be from 1 to {model.config.d_model}, the model's width")
    check_new_name(model, name)
    set_adapter(model, None)
    sublayers, parts = dict(model.named_modules()), copies(new_parameters(model))
    for path in (f"{block}.{part}" for block in blocks[config.leave_out :] for part in SUBLAYERS[config.kind]):
        parts[path] = HoulsbySublayer(sublayers[path], _make_adapter(model, config, rng))
    add_adapter(model, name, NamedAdapter(config, parts))


def _make_adapter(model: Model, config: HoulsbyConfig, rng: numpy.random.Generator) -> Houlsby:
    C, r = model.config.d_model, config.size
    bound = 1.0 / math.sqrt(C)
    ln = LayerNorm(new_array(model, numpy.ones(C)), new_array(model, numpy.zeros(C))) if config.kind == "lin" else None
    down = Linear(new_array(model, rng.uniform(-bound, bound, (r, C))), new_array(model, numpy.zeros(r)))
    up = Linear(new_array(model, numpy.zeros((C, r))), new_array(model, numpy.zeros(C)))
    return Houlsby(down, up, ln)


def houlsby_sublayers(model: Module) -> dict[str, HoulsbySublayer]:
    """The sublayers that have an adapter: a dict of path to HoulsbySublayer."""
    return {path: layer for path, layer in model.named_modules() if isinstance(layer, HoulsbySublayer)}
