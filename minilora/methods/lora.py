"""LoRA (Hu et al., 2021): freeze a model, and learn a low-rank delta_W = scale * B @ A beside chosen weights.

    apply_lora(model, LoRAConfig(rank=4, alpha=8), rng=rng)     # wraps the targets, freezes the rest
    ...train...
    merge_lora(model)                                           # W + delta_W: no added latency
    unmerge_lora(model)                                         # the frozen W again, to the bit
    set_adapter(model, "other")                                 # another adapter on the same base; None: the base
"""

import math
from dataclasses import dataclass, field

import numpy

from minilora.layers import Linear, LoRAFactors, LoRALinear, lora_scale
from minilora.parameter import Parameter

INITS = ("uniform", "gaussian")


@dataclass(frozen=True)
class LoRAConfig:
    """What is adapted, and how.

    Parameters
    ----------
    rank : int
        r, from 1 to min(I, O) of every target.
    alpha : float
        delta_W is scaled by alpha / r, which reduces the need to tune the learning rate again when r changes (the
        paper, section 4.1); for large r see `rslora`.
    targets : sequence of str
        Names of linear layers: the end of a path ("q_proj": in all blocks) or a whole one ("blocks.0.attn.q_proj").
    dropout : float
        The probability that an input of LoRA's branch is dropped in training.
    rslora : bool
        Scale by alpha / sqrt(r) instead.
    init : {"uniform", "gaussian"}
        How A is drawn: U(-1/sqrt(I), 1/sqrt(I)), as loralib and PEFT do, or N(0, 1/r^2), PEFT's reading of the paper's
        "random Gaussian", for which the paper states no deviation. B is zero, so that delta_W starts as zero.
    rank_pattern, alpha_pattern : dict of str to int or float
        Exceptions, by the same kind of name as in `targets`; the longest name that fits wins.
    """

    rank: int = 8
    alpha: float = 8
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    dropout: float = 0.0
    rslora: bool = False
    init: str = "uniform"
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        if isinstance(self.targets, str) or not self.targets:
            raise ValueError(f"targets was {self.targets!r}; it may be several names, such as ('q_proj', 'v_proj')")
        object.__setattr__(self, "targets", tuple(self.targets))
        if not all(isinstance(target, str) for target in self.targets):
            raise ValueError(f"targets was {self.targets!r}; each may be a name such as 'q_proj'")
        for name, rank in {"rank": self.rank, **self.rank_pattern}.items():
            if not isinstance(rank, (int, numpy.integer)) or isinstance(rank, bool) or rank < 1:
                raise ValueError(f"{_setting('rank', name)} was {rank!r}; it may be an integer of at least 1")
        for name, alpha in {"alpha": self.alpha, **self.alpha_pattern}.items():
            if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
                raise ValueError(f"{_setting('alpha', name)} was {alpha!r}; it may be a finite number")
        if not isinstance(self.dropout, (int, float)) or not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout was {self.dropout!r}; it may be 0 <= dropout < 1")
        if self.init not in INITS:
            raise ValueError(f"init was {self.init!r}; it may be one of {', '.join(map(repr, INITS))}")

    def rank_of(self, path):
        """The rank for the layer at `path`."""
        return _longest_match(self.rank_pattern, path, self.rank)

    def alpha_of(self, path):
        """The alpha for the layer at `path`."""
        return _longest_match(self.alpha_pattern, path, self.alpha)


def _setting(kind, name):
    return kind if name == kind else f"{kind}_pattern[{name!r}]"


def _fits(name, path):
    return path == name or path.endswith("." + name)


def _longest_match(pattern, path, default):
    names = [name for name in pattern if _fits(name, path)]
    return pattern[max(names, key=len)] if names else default


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
            if not any(_fits(name, path) for path in linear):
                possible = ", ".join(dict.fromkeys(path.rsplit(".", 1)[-1] for path in linear))
                raise ValueError(f"{setting} named {name!r}, which is no linear layer of this model; it has {possible}")
    chosen = {path: layer for path, layer in linear.items() if any(_fits(name, path) for name in config.targets)}
    for path, layer in chosen.items():
        O, I = shape_of(layer)
        if config.rank_of(path) > min(O, I):
            raise ValueError(
                f"rank was {config.rank_of(path)} for {path}, whose W is {O} x {I}; it may be from 1 to {min(O, I)}"
            )
    return chosen


def shape_of(layer):
    """(O, I) of a Linear or LoRALinear."""
    return (layer.base if isinstance(layer, LoRALinear) else layer).W.data.shape


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
    I, r = shape_of(layer)[1], config.rank_of(path)
    if config.init == "uniform":
        A = rng.uniform(-1.0 / math.sqrt(I), 1.0 / math.sqrt(I), (r, I))
    else:
        A = rng.standard_normal((r, I)) / r
    return make_factors(path, layer, config, A, B=0.0)


def make_factors(path, layer, config, A, B):
    """LoRAFactors for one layer, in the dtype and on the device of its W, from host values of A and B."""
    W = (layer.base if isinstance(layer, LoRALinear) else layer).W.data
    (O, I), r = W.shape, config.rank_of(path)
    xp = layer.xp
    a = xp.empty((r, I), dtype=W.dtype)
    b = xp.empty((O, r), dtype=W.dtype)
    a[...] = xp.asarray(A)
    b[...] = xp.asarray(B)
    scale = lora_scale(config.alpha_of(path), r, config.rslora)
    return LoRAFactors(Parameter(a), Parameter(b), scale, config.dropout, config)


def attach(model, factors, name):
    """Give the layers at the paths in `factors` an adapter called `name`, activate it, freeze everything else."""
    _refuse_merged(model)
    if not isinstance(name, str) or not name:
        raise ValueError(f"name was {name!r}; it may be any text")
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
    """The names of all adapters, in the order in which they came."""
    return list(dict.fromkeys(name for layer in lora_layers(model).values() for name in layer.adapters))


def set_adapter(model, name):
    """Make the adapter called `name` the active one, and freeze everything else; or, with None, switch adapters off.

    Without an adapter the model is its base, to the bit.

    Raises
    ------
    ValueError
        If there is no adapter of this name (the message lists them), or one is merged.
    """
    _refuse_merged(model)
    if name is not None and name not in adapter_names(model):
        raise ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}")
    if name is not None:
        model.freeze()
    for layer in lora_layers(model).values():
        layer.active = name if name in layer.adapters else None
        for other, factors in layer.adapters.items():
            for p in (factors.A, factors.B):
                p.trainable, p.grad = other == name, None
    model.name_parameters()


def _refuse_merged(model):
    if any(layer.merged for layer in lora_layers(model).values()):
        raise ValueError("an adapter is merged into the model; call unmerge_lora(model) first")


def merge_lora(model):
    """Replace each adapted W by W + delta_W: the adapted model at exactly the base's cost. The frozen W is kept."""
    for layer in lora_layers(model).values():
        layer.merge()


def unmerge_lora(model):
    """Put every frozen W back, to the bit."""
    for layer in lora_layers(model).values():
        layer.unmerge()


def remove_lora(model):
    """Put each adapted layer's own Linear back in its place. What is merged stays merged: W + delta_W, for good."""
    for path, layer in lora_layers(model).items():
        model.replace(path, layer.base)
    model.name_parameters()
