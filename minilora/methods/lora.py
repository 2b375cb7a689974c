"""LoRA (Hu et al., 2021): freeze a model, and learn a low-rank delta_W = scale * B @ A beside chosen weights.

apply_lora(model, LoRAConfig(rank=4, alpha=8), rng=rng)     # wraps the targets, freezes the rest
...train...
merge_lora(model)                                           # W + delta_W: no added latency
unmerge_lora(model)                                         # the frozen W again, to the bit
set_adapter(model, "other")                                 # another adapter on the same base; None: the base
"""

import math

import numpy

from minilora.layers import (
    DoRAFactors,
    Linear,
    LoRAFactors,
    LoRALinear,
    PiSSAFactors,
    dora_start,
    lora_scale,
    pissa_start,
)
from minilora.methods.lora_config import LoRAConfig, fits
from minilora.methods.selection import method_of, train_only
from minilora.parameter import Parameter


def target_layers(model, config):
    """The layers that `config` adapts: a dict of path to Linear or LoRALinear, in the model's order.

    Raises
    ------
    ValueError
        If a name in the config fits no linear layer (the message lists the possible ones), or a rank is too large.
    """
    linear = {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, LoRALinear) or (isinstance(layer, Linear) and not path.endswith(".base"))
    }
    for setting in ("targets", "rank_pattern", "alpha_pattern"):
        for name in getattr(config, setting):
            if not any(fits(name, path) for path in linear):
                possible = ", ".join(dict.fromkeys(path.rpartition(".")[2] for path in linear))
                raise ValueError(f"{setting} named {name!r}, which is no linear layer of this model; it has {possible}")
    chosen = {path: layer for path, layer in linear.items() if any(fits(name, path) for name in config.targets)}
    for path, layer in chosen.items():
        O, I = shape_of(layer)
        if config.rank_of(path) > min(O, I):
            raise ValueError(
                f"rank was {config.rank_of(path)} for {path}, whose W is {O} x {I}; it may be from 1 to {min(O, I)}"
            )
    return chosen


def shape_of(layer):
    """(O, I) of a Linear or LoRALinear."""
    return base_of(layer).W.data.shape


def base_of(layer):
    """The Linear that a LoRALinear holds; a Linear itself."""
    return layer.base if isinstance(layer, LoRALinear) else layer


def apply_lora(model, config, *, rng, name="default"):
    """Add an adapter to a model, in place, make it the active one, and freeze everything else.

    The first adapter wraps each target in a `LoRALinear`; a further one, under another `name`, is put beside it.

    Parameters
    ----------
    model : Module
    config : LoRAConfig
    rng : numpy.random.Generator
        Draws A.
    name : str

    Raises
    ------
    ValueError
        If a target or rank does not fit the model, the name is taken, or an adapter is merged. The model is unchanged.
    """
    layers = target_layers(model, config)
    factors = {path: _draw_factors(path, layer, config, rng) for path, layer in layers.items()}
    attach(model, factors, name)


def _draw_factors(path, layer, config, rng):
    (O, I), r = shape_of(layer), config.rank_of(path)
    if config.init == "pissa":
        B0, A0 = pissa_start(base_of(layer), r, _scale(path, config))
        return make_factors(path, layer, config, A=A0, B=B0, A0=A0, B0=B0)
    if config.init == "uniform":
        A = rng.uniform(-1.0 / math.sqrt(I), 1.0 / math.sqrt(I), (r, I))
    else:
        A = rng.standard_normal((r, I)) / r
    m = dora_start(base_of(layer)) if config.dora else None
    return make_factors(path, layer, config, A=A, B=numpy.zeros((O, r)), m=m)


def make_factors(path, layer, config, A, B, m=None, A0=None, B0=None):
    """One layer's LoRAFactors, DoRAFactors (with `m`) or PiSSAFactors (with `A0` and `B0`), as the config says.

    The arrays may be on the host or on the device of W; they are copied, in the dtype of W.
    """
    W, xp, scale = base_of(layer).W.data, layer.xp, _scale(path, config)

    def copy(values):
        array = xp.empty(values.shape, dtype=W.dtype)
        array[...] = xp.asarray(values)
        return array

    shared = {"A": Parameter(copy(A)), "B": Parameter(copy(B))}
    shared |= {"scale": scale, "dropout": config.dropout, "config": config}
    if config.dora:
        return DoRAFactors(**shared, m=Parameter(copy(m)), exact=config.dora_exact)
    if config.init == "pissa":
        A0, B0 = copy(A0), copy(B0)
        return PiSSAFactors(**shared, A0=A0, B0=B0, W_res=W - scale * (B0 @ A0))
    return LoRAFactors(**shared)


def _scale(path, config):
    return lora_scale(config.alpha_of(path), config.rank_of(path), config.rslora)


def attach(model, factors, name):
    """Give the layers at the paths in `factors` an adapter called `name`, activate it, freeze everything else."""
    refuse_merged(model)
    if not isinstance(name, str) or not name:
        raise ValueError(f"name was {name!r}; it may be any text of at least one character")
    if name in adapter_names(model):
        raise ValueError(f"name was {name!r}; the model has an adapter of this name already")
    layers = dict(model.named_modules())
    for path, factor in factors.items():
        layer = layers[path]
        if not isinstance(layer, LoRALinear):
            layer = LoRALinear(layer)
            model.replace(path, layer)
        layer.adapters[name] = factor
    set_adapter(model, name)


def lora_layers(model):
    """The layers that hold adapters: a dict of path to LoRALinear."""
    return {path: layer for path, layer in model.named_modules() if isinstance(layer, LoRALinear)}


def adapter_names(model):
    """The names of all adapters, layer by layer; within a layer in the order in which they came."""
    return list(dict.fromkeys(name for layer in lora_layers(model).values() for name in layer.adapters))


def set_adapter(model, name):
    """Make the adapter called `name` the active one, and freeze everything else; or, with None, switch adapters off.

    Without an adapter the model is its base, to the bit.

    Raises
    ------
    ValueError
        If there is no adapter of this name (the message lists them), or one is merged.
    """
    refuse_merged(model)
    if name is not None and name not in adapter_names(model):
        raise ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}")
    layers = lora_layers(model).values()
    for layer in layers:
        layer.active = name if name in layer.adapters else None
        for factors in layer.adapters.values():
            factors.freeze()
    if name is None:
        _forget_lora(model)
    else:
        chosen = [layer.factors for layer in layers if layer.active is not None]
        train_only(model, [p for factors in chosen for p in factors.parameters()], chosen[0].config)


def refuse_merged(model):
    """Raise a ValueError if an adapter is merged."""
    if any(layer.merged for layer in lora_layers(model).values()):
        raise ValueError("an adapter is merged into the model; call unmerge_lora(model) first")


def merge_lora(model):
    """Replace each adapted W by W + delta_W: the adapted model at exactly the base's cost. The frozen W is kept.

    Raises
    ------
    ValueError
        If no adapter is active: there is nothing to merge.
    """
    layers = lora_layers(model).values()
    if all(layer.active is None for layer in layers):
        raise ValueError(f"no adapter is active to be merged; the model's adapters are {adapter_names(model)}")
    for layer in layers:
        layer.merge()


def unmerge_lora(model):
    """Put every frozen W back, to the bit."""
    for layer in lora_layers(model).values():
        layer.unmerge()


def remove_lora(model):
    """Put each adapted layer's own Linear back in its place. What is merged stays merged: W + delta_W, for good."""
    for path, layer in lora_layers(model).items():
        model.replace(path, layer.base)
    _forget_lora(model)


def _forget_lora(model):
    if isinstance(method_of(model), LoRAConfig):
        model.method = None
    model.name_parameters()
