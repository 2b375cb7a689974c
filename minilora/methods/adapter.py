"""Adapters (Houlsby et al., 2019, and after): small trained layers between the frozen ones.

The paper counts them as |Theta| = L_adapters (2 d r + r + d) + L_LN 2 d (section 5.1), and compares four kinds:

    Adapter^H   Houlsby et al., 2019     after the attention and after the MLP           2 a block
    Adapter^L   Lin et al., 2020         after the MLP, with a LayerNorm of its own      1 a block, and 1 LayerNorm
    Adapter^P   Pfeiffer et al., 2021    after the MLP                                   1 a block
    Adapter^D   Rücklé et al., 2021      AdapterDrop: none in the first blocks, in training and after

Adapter^D is Adapter^P here, for the paper's counts of it, 0.3M and 0.9M for RoBERTa base, are those of one adapter a
block, r = 16 and 48. Below the first adapter nothing is trained, and so nothing is differentiated.

All of them stand before the residual connection is added, as the paper describes them. Where the sources differ in a
detail (ReLU for GELU, where a post-LN block normalises), this is one form for all.
"""

import math
from dataclasses import dataclass

import numpy

from minilora.layers import AdaptedSublayer, Adapter, LayerNorm, Linear
from minilora.methods.selection import block_paths, check_integer, copies, new_parameters, place
from minilora.methods.switching import NamedAdapter, add_adapter, check_new_name, set_adapter
from minilora.parameter import Module

SUBLAYERS = {"houlsby": ("attn", "mlp"), "lin": ("mlp",), "pfeiffer": ("mlp",)}


@dataclass(frozen=True)
class AdapterConfig:
    """Which adapters, and where.

    Parameters
    ----------
    kind : {"houlsby", "lin", "pfeiffer"}
    size : int
        r, the width of the adapter's middle.
    leave_out : int
        AdapterDrop: how many of the first blocks have no adapter.
    """

    kind: str = "houlsby"
    size: int = 8
    leave_out: int = 0

    def __post_init__(self):
        if self.kind not in SUBLAYERS:
            raise ValueError(f"kind was {self.kind!r}; it must be one of {', '.join(map(repr, SUBLAYERS))}")
        check_integer("size", self.size)
        check_integer("leave_out", self.leave_out, least=0)


def apply_adapter(model: Module, config: AdapterConfig, *, rng: numpy.random.Generator, name: str = "adapter") -> None:
    """Put adapters into a model, in place, and freeze everything else. At the start they change nothing.

    Parameters
    ----------
    model : Module
        With blocks that have an `attn` and an `mlp`, whatever else is in them.
    config : AdapterConfig
    rng : numpy.random.Generator
        Draws each `down`: U(-1/sqrt(C), 1/sqrt(C)), as LoRA's A. `up` and the biases are zero.
    name : str
        Of them all together.

    Raises
    ------
    ValueError
        If no block is left for one, `size` is no bottleneck, or the name is taken. The model is unchanged.
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
        parts[path] = AdaptedSublayer(sublayers[path], _make_adapter(model, config, rng))
    add_adapter(model, name, NamedAdapter(config, parts))


def _make_adapter(model, config, rng):
    C, r = model.config.d_model, config.size
    bound = 1.0 / math.sqrt(C)
    ln = LayerNorm(place(model, numpy.ones(C)), place(model, numpy.zeros(C))) if config.kind == "lin" else None
    down = Linear(place(model, rng.uniform(-bound, bound, (r, C))), place(model, numpy.zeros(r)))
    up = Linear(place(model, numpy.zeros((C, r))), place(model, numpy.zeros(C)))
    return Adapter(down, up, ln)


def adapted_sublayers(model):
    """The sublayers that have an adapter: a dict of path to AdaptedSublayer."""
    return {path: layer for path, layer in model.named_modules() if isinstance(layer, AdaptedSublayer)}
