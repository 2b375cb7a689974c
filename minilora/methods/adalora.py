"""AdaLoRA (Zhang et al., 2023): delta_W = P Lambda Q, of which training keeps the triplets that matter most.

    delta_W = scale P diag(lam) Q,   scale = alpha / initial_rank       lam starts at 0, P and Q as N(0, 0.02^2)

All targets start with `initial_rank` triplets, and share a budget that falls to `rank` for each on the average: a layer
that needs more keeps more. `ops/adalora_linear.py` has the gradients, `ops/orthogonality.py` the penalty, which
`loss_and_backward` adds to them, and `training/adalora.py` the budget and what decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from minilora.arrays.backend import Array
from minilora.layers.linear import Linear
from minilora.layers.quantized import with_values, without_values
from minilora.limits import shown
from minilora.methods.lora.apply import attach, own_of, shape_of, target_layers
from minilora.methods.lora.config import LoRAConfig, as_python, is_number
from minilora.methods.lora.layer import LoRAFactors
from minilora.methods.selection import check_integer, copies, new_array
from minilora.methods.state import method_of
from minilora.methods.switching import base_in_place, check_new_name, lora_layers
from minilora.ops.fast import (
    adalora_linear_backward,
    adalora_linear_forward,
    orthogonality_backward,
    orthogonality_forward,
)
from minilora.parameter import Module, Parameter


@dataclass(frozen=True)
class AdaLoRAConfig:
    """AdaLoRA's settings; `alpha`, `targets` and `dropout` are LoRA's.

    Parameters
    ----------
    rank : int
        The triplets that each target keeps at the end, on the average.
    initial_rank : int
        The triplets that each has at the start; at least `rank`.
    alpha : float
    targets : sequence of str
    dropout : float
    orthogonality : float
        gamma, the weight of the penalty. (PEFT's, which has no squares in it, is another.)
    beta1, beta2 : float
        How slowly the means of sensitivity and of uncertainty move.
    warmup_share, final_share : float
        Of all steps: those before the first pruning, and those after the last one; together below 1.
    interval : int
        Steps between two prunings.
    """

    rank: int = 8
    initial_rank: int = 12
    alpha: float = 8
    targets: Sequence[str] = ("q_proj", "v_proj")
    dropout: float = 0.0
    orthogonality: float = 0.1
    beta1: float = 0.85
    beta2: float = 0.85
    warmup_share: float = 0.1
    final_share: float = 0.4
    interval: int = 10

    def __post_init__(self) -> None:
        check_integer("rank", self.rank)
        check_integer("interval", self.interval)
        as_lora = LoRAConfig(self.initial_rank, self.alpha, self.targets, self.dropout)  # which checks them
        for name in ("alpha", "targets", "dropout"):
            object.__setattr__(self, name, getattr(as_lora, name))
        if self.initial_rank < self.rank:
            raise ValueError(f"initial_rank was {self.initial_rank}; it must be at least rank, {self.rank}")
        if not is_number(self.orthogonality) or self.orthogonality < 0:
            raise ValueError(f"orthogonality was {shown(self.orthogonality)}; it must be a number of at least 0")
        for name in ("beta1", "beta2", "warmup_share", "final_share"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < 1:
                raise ValueError(f"{name} was {shown(value)}; it must be a number from 0 to 1, and below 1")
        for name in ("initial_rank", "orthogonality", "beta1", "beta2", "warmup_share", "final_share"):
            object.__setattr__(self, name, as_python(getattr(self, name)))
        if self.warmup_share + self.final_share >= 1:
            raise ValueError("warmup_share and final_share were 1 or more together; they must leave steps for pruning")


@dataclass(eq=False)
class AdaLoRAFactors(LoRAFactors):
    """One layer's triplets. B (O, r) holds P, and A (r, I) holds Q, so that they are found where LoRA's are.

    Parameters
    ----------
    lam : Parameter of shape (r,)
    """

    lam: Parameter = None  # type: ignore[assignment]  # it stands behind fields with defaults

    def forward(self, x: Array, base: Linear) -> tuple[Array, Any]:
        """(..., I) -> (..., O)"""
        P, lam, Q, bias = self.B.data, self.lam.data, self.A.data, None if base.bias is None else base.bias.data
        y, cache = adalora_linear_forward(x, base.W.data, bias, P, lam, Q, self.scale, self.dropout_mask(x))
        return y, without_values(cache, base.W)

    def backward(self, dy: Array, cache: Any) -> Array:
        """(..., O) -> (..., I)"""
        dx, *grads = adalora_linear_backward(dy, with_values(cache))
        for p, grad in zip((self.B, self.lam, self.A), grads, strict=True):
            p.accumulate(grad)
        return dx

    def low_rank(self) -> tuple[Array, Array, float]:
        """delta_W in LoRA's form: P diag(lam), Q and scale."""
        return self.B.data * self.lam.data, self.A.data, self.scale

    def products(self, W: Array) -> list[tuple[Array, ...]]:
        """[(W,), (Q, scale P diag(lam))]"""
        B, A, scale = self.low_rank()
        return [(W,), (A, scale * B)]


def adalora_scale(config: AdaLoRAConfig) -> float:
    """alpha / initial_rank, from the beginning to the end."""
    return float(config.alpha / config.initial_rank)


def apply_adalora(model: Module, config: AdaLoRAConfig, *, rng: numpy.random.Generator, name: str = "adalora") -> None:
    """Give the targets of a model their triplets, in place, and freeze everything else.

    Raises
    ------
    ValueError
        If a name or the initial rank does not fit the model, or the name is taken. The model is then unchanged.
    """
    check_new_name(model, name)
    as_lora = LoRAConfig(rank=config.initial_rank, targets=config.targets)
    with base_in_place(model):
        layers = target_layers(model, as_lora)
        parts = copies(own_of(model, as_lora, layers))
    triplets, r = {}, config.initial_rank
    for path, layer in layers.items():
        O, I = shape_of(layer)
        triplets[path] = 0.02 * rng.standard_normal((O, r)), numpy.zeros(r), 0.02 * rng.standard_normal((r, I))
    add_adalora(model, name, config, triplets, parts)


def add_adalora(
    model: Module, name: str, config: AdaLoRAConfig, triplets: Mapping[str, Sequence[Array]], parts: dict[str, Any]
) -> None:
    """Add an adapter with these P, lam and Q, by path of the layer; `parts` as in `attach`."""
    factors = {}
    for path, arrays in triplets.items():
        P, lam, Q = (Parameter(new_array(model, array)) for array in arrays)
        factors[path] = AdaLoRAFactors(Q, P, adalora_scale(config), config.dropout, config, lam=lam)
    attach(model, name, config, factors, parts)


def triplets_of(model: Module) -> list[AdaLoRAFactors]:
    """What the active adapter has in each layer, if it is AdaLoRA's; else nothing."""
    if not isinstance(method_of(model), AdaLoRAConfig):
        return []
    active = (layer.factors for layer in lora_layers(model).values() if layer.active is not None)
    return [factors for factors in active if isinstance(factors, AdaLoRAFactors)]


def orthogonality(model: Module) -> float:
    """The penalty of the active adapter: gamma times the sum of R(P, Q) over its layers; 0 if it is not AdaLoRA's."""
    gamma = getattr(method_of(model), "orthogonality", 0.0)
    return gamma * float(sum(orthogonality_forward(f.B.data, f.A.data)[0] for f in triplets_of(model)))


def penalise_orthogonality(model: Module, weight: float = 1.0) -> None:
    """Add the gradients of ``weight * orthogonality(model)`` to those of P and Q."""
    for factors in triplets_of(model):
        _, cache = orthogonality_forward(factors.B.data, factors.A.data)
        dP, dQ = orthogonality_backward(weight * factors.config.orthogonality, cache)
        factors.B.accumulate(dP)
        factors.A.accumulate(dQ)
