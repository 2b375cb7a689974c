"""LoRA (Hu et al., 2021): freeze a model, and learn a low-rank delta_W = scale * B @ A next to chosen weights.

apply_lora(model, LoRAConfig(rank=4, alpha=8), rng=rng)     # wraps the targets, freezes the rest
...train...
merge_lora(model)                                           # W + delta_W: no added latency
unmerge_lora(model)                                         # the frozen W again, to the bit
set_adapter(model, "other")                                 # another adapter on the same base; None: the base
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy

from minilora.arrays.backend import Array, to_numpy
from minilora.layers import Embedding, Linear
from minilora.limits import shown
from minilora.methods.lora.config import FROM_W, LoRAConfig, fits
from minilora.methods.lora.embedding import LoRAEmbedding, LoRAEmbeddingFactors, has_tied_head, token_embeddings
from minilora.methods.lora.gradient_start import check_batches, gradient_start, weight_gradients
from minilora.methods.lora.layer import LoRAFactors, LoRALinear, lora_scale
from minilora.methods.lora.variants import DoRAFactors, LoRAFAFactors, PiSSAFactors, dora_start, pissa_start
from minilora.methods.selection import copies, new_parameters
from minilora.methods.state import NamedAdapter, adapters_of
from minilora.methods.switching import (
    add_adapter,
    base_in_place,
    base_parameters,
    check_new_name,
    set_adapter,
)
from minilora.parameter import Constant, Module, Parameter


def linear_layers(model: Module) -> dict[str, Linear | LoRALinear]:
    """Every layer that LoRA can adapt, or has adapted, by path, in the model's order."""
    return {
        path: layer
        for path, layer in model.named_modules()
        if (isinstance(layer, LoRALinear) and not isinstance(layer, LoRAEmbedding))
        or (isinstance(layer, Linear) and not path.endswith(".base"))
    }


def target_layers(
    model: Module, config: LoRAConfig, *, any_rank: bool = False, embeddings: bool = False
) -> dict[str, Any]:
    """The layers that `config` adapts: a dict of path to Linear or LoRALinear, in the model's order.

    With `embeddings`, the token embedding is one of them if it is named. A rank above min(O, I) gains nothing. So a new
    adapter may not have it; one from elsewhere (`any_rank`) may.

    Raises
    ------
    ValueError
        If a name in the config matches no linear layer (the message lists the possible ones), or a rank is too large.
    """
    linear = (token_embeddings(model) if embeddings else {}) | linear_layers(model)
    for setting in ("targets", "rank_pattern", "alpha_pattern"):
        for name in getattr(config, setting):
            if not any(fits(name, path) for path in linear):
                if name == "lm_head" and has_tied_head(model):
                    raise ValueError(f"{setting} named 'lm_head', tied to the token embedding; it must stay frozen")
                possible = ", ".join(dict.fromkeys(path.rpartition(".")[2] for path in linear))
                kind = "a linear layer or an embedding" if embeddings else "a linear layer"
                raise ValueError(f"{setting} named {name!r}, which is not {kind} of this model; it has {possible}")
    chosen = {path: layer for path, layer in linear.items() if any(fits(name, path) for name in config.targets)}
    for path, layer in chosen.items():
        O, I = shape_of(layer)
        if config.rank_of(path) > min(O, I) and not any_rank:
            raise ValueError(
                f"rank was {config.rank_of(path)} for {path}, whose W is {O} x {I}; it must be from 1 to {min(O, I)}"
            )
    return chosen


def shape_of(layer: Linear | LoRALinear) -> tuple[int, int]:
    """(O, I) of a Linear or LoRALinear; (C, V) of an embedding, which maps one-hot vectors."""
    O, I = base_of(layer).W.shape
    return (I, O) if isinstance(base_of(layer), Embedding) else (O, I)


def base_of(layer: Linear | LoRALinear) -> Linear:
    """The Linear that a LoRALinear holds; a Linear itself."""
    return layer.base if isinstance(layer, LoRALinear) else layer


def apply_lora(
    model: Module,
    config: LoRAConfig,
    *,
    rng: numpy.random.Generator,
    name: str = "default",
    batches: Sequence[Any] | None = None,
) -> None:
    """Add an adapter to a model, in place, make it the active one, and freeze everything else.

    The first adapter wraps each target in a `LoRALinear`; further ones, under other names, are added to it. Each
    adapter has its own copy of whatever is new in the model, such as a classifier's head, and of what `config.besides`
    names.

    Parameters
    ----------
    model : Module
    config : LoRAConfig
    rng : numpy.random.Generator
        Draws A.
    name : str
    batches : sequence of Batch, optional
        For ``init="lora-ga"``: those whose gradient A and B start from.

    Raises
    ------
    ValueError
        If a name or rank does not fit the model, the name is taken, an adapter is merged, or there are no `batches`
        where they are needed. The model is then unchanged.
    """
    check_new_name(model, name)
    attach(model, name, config, *drawn(model, config, rng, batches))


def drawn(
    model: Module, config: LoRAConfig, rng: numpy.random.Generator, batches: Sequence[Any] | None = None
) -> tuple[dict[str, LoRAFactors], dict[str, Any]]:
    """What a new adapter has: its factors by path of the layer, and its copies of what else it trains.

    Raises
    ------
    ValueError
        If a name or rank does not fit the model.
    """
    with base_in_place(model):
        layers = target_layers(model, config, embeddings=True)
        parts = copies(own_of(model, config, layers))
    if config.init == "lora-ga":
        if embedding := next((path for path, layer in layers.items() if isinstance(base_of(layer), Embedding)), None):
            raise ValueError(f"targets named {embedding}, an embedding; LoRA-GA takes linear layers only")
        return from_gradients(model, layers, config, check_batches(batches)), parts
    return {path: _draw_factors(path, layer, config, rng) for path, layer in layers.items()}, parts


def from_gradients(
    model: Module, layers: Mapping[str, Any], config: LoRAConfig, batches: Sequence[Any]
) -> dict[str, LoRAFactors]:
    """LoRA-GA's factors of each layer: A and B from the gradient of its W, with every adapter switched off."""
    for path, layer in layers.items():
        if 2 * config.rank_of(path) > min(shape_of(layer)):
            O, I = shape_of(layer)
            says = f"it must be from 1 to {min(O, I) // 2}, as LoRA-GA needs 2 r directions"
            raise ValueError(f"rank was {config.rank_of(path)} for {path}, whose W is {O} x {I}; {says}")
    active = adapters_of(model).active
    set_adapter(model, None)
    try:
        G = weight_gradients(model, {path: base_of(layer).W for path, layer in layers.items()}, batches)
    finally:
        set_adapter(model, active)
    factors = {}
    for path, layer in layers.items():
        B0, A0 = gradient_start(G[path], config.rank_of(path), config.gamma)
        factors[path] = make_factors(path, layer, config, A=A0, B=B0, A0=A0, B0=B0)
    return factors


def own_of(model: Module, config: LoRAConfig, layers: Iterable[str]) -> dict[str, Parameter]:
    """What an adapter has a copy of, besides A and B: the model's new modules, and what `config.besides` names.

    Parameters
    ----------
    model : Module
    config : LoRAConfig
    layers : container of str
        The paths of the adapted layers. Their W is frozen.

    Raises
    ------
    ValueError
        If a name matches nothing, or a W that is adapted.
    """
    base = base_parameters(model)
    frozen = {f"{path}.W" for path in layers}
    own = new_parameters(model).keys() - frozen
    for name in config.besides:
        found = {path for path in base if any(fits(name, part) for part in with_parents(path))}
        if not found:
            raise ValueError(f"besides named {name!r}, which is not a parameter or part of this model")
        if adapted := sorted(found & frozen):
            raise ValueError(
                f"besides named {name!r}, which holds {adapted[0]}; this must stay frozen, next to its A and B"
            )
        own |= found
    return {path: p for path, p in base.items() if path in own}  # in the model's order


def with_parents(path: str) -> list[str]:
    """A path and the paths of everything that contains it, outermost first: "a", "a.b", "a.b.c" for "a.b.c"."""
    parts = path.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _draw_factors(
    path: str, layer: Linear | LoRALinear, config: LoRAConfig, rng: numpy.random.Generator
) -> LoRAFactors:
    (O, I), r = shape_of(layer), config.rank_of(path)
    if isinstance(base_of(layer), Embedding):  # as in PEFT, A is zero and B random: a column of A is read by its token
        return make_factors(path, layer, config, A=numpy.zeros((r, I)), B=rng.standard_normal((O, r)))
    if config.init == "pissa":
        B0, A0 = pissa_start(base_of(layer), r, lora_scale_of(path, config))
        if not numpy.isfinite(to_numpy(A0)).all():
            raise ValueError(
                f"alpha was {config.alpha_of(path)} for {path}; PiSSA divides by it, and it must be larger"
            )
        return make_factors(path, layer, config, A=A0, B=B0, A0=A0, B0=B0)
    if config.init == "uniform":
        A = rng.uniform(-1.0 / math.sqrt(I), 1.0 / math.sqrt(I), (r, I))
    else:
        A = rng.standard_normal((r, I)) / r
    m = dora_start(base_of(layer)) if config.dora else None
    return make_factors(path, layer, config, A=A, B=numpy.zeros((O, r)), m=m)


def make_factors(
    path: str,
    layer: Linear | LoRALinear,
    config: LoRAConfig,
    A: Array,
    B: Array,
    m: Array | None = None,
    A0: Array | None = None,
    B0: Array | None = None,
) -> LoRAFactors:
    """One layer's factors according to the config: DoRA's have `m`, PiSSA's and LoRA-GA's `A0` and `B0`.

    The arrays can be on the host or on the device of W; they are copied, in the dtype of W.
    """
    W, xp, scale = base_of(layer).W.data, layer.xp, lora_scale_of(path, config)
    if abs(scale) > (largest := float(numpy.finfo(W.dtype).max)):
        says = f"scale = {scale:.3g} must be at most {largest:.3g} in {W.dtype}"
        raise ValueError(f"alpha was {shown(config.alpha_of(path))} for {path}; {says}")

    def copy(values: Array) -> Array:
        array = xp.empty(values.shape, dtype=W.dtype)
        array[...] = xp.asarray(values)
        return array

    shared: dict[str, Any] = {"A": (Constant if config.freeze_A else Parameter)(copy(A)), "B": Parameter(copy(B))}
    shared |= {"scale": scale, "dropout": config.dropout, "config": config}
    if isinstance(base_of(layer), Embedding):
        if config.dora or config.init in FROM_W or config.freeze_A:
            raise ValueError(
                f"targets named {path}, an embedding; DoRA, PiSSA, LoRA-GA and LoRA-FA take linear layers only"
            )
        return LoRAEmbeddingFactors(**shared | {"dropout": 0.0})
    if config.dora:
        return DoRAFactors(**shared, m=Parameter(copy(m)), exact=config.dora_exact)
    if config.init in FROM_W:
        A0, B0 = copy(A0), copy(B0)
        return PiSSAFactors(**shared, A0=A0, B0=B0, W_res=W - scale * (B0 @ A0))
    return LoRAFAFactors(**shared) if config.freeze_A else LoRAFactors(**shared)


def lora_scale_of(path: str, config: LoRAConfig) -> float:
    """The scale that a configuration gives the layer at `path`."""
    return lora_scale(config.alpha_of(path), config.rank_of(path), config.rslora)


def attach(
    model: Module, name: str, config: Any, factors: Mapping[str, LoRAFactors | Any], parts: dict[str, Any]
) -> None:
    """Give a model an adapter, activate it, and freeze everything else.

    Parameters
    ----------
    model : Module
    name : str
    config : dataclass
    factors : dict of str to LoRAFactors, or whatever else a LoRALinear can hold
        By path of the layer in the base.
    parts : dict of str to Parameter or Module
        What else belongs to the adapter, by path in the base; see `NamedAdapter`.
    """
    check_new_name(model, name)
    for other, adapter in adapters_of(model).named.items():
        if both := sorted(factors.keys() & adapter.parts.keys()):
            raise ValueError(
                f"targets named {both[0]}, which the adapter {other!r} replaces; it must have no other one"
            )
    set_adapter(model, None)
    layers: dict[str, Any] = dict(model.named_modules())
    for path, factor in factors.items():
        layer = layers[path]
        if not isinstance(layer, LoRALinear):
            layer = LoRAEmbedding(layer) if isinstance(layer, Embedding) else LoRALinear(layer)
            model.replace(path, layer)
        layer.adapters[name] = factor
    add_adapter(model, name, NamedAdapter(config, parts))
