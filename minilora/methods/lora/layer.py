"""LoRALinear: a frozen Linear with low-rank adapters next to it; at most one of them is active."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.linear import Linear
from minilora.layers.quantized import with_values, without_values
from minilora.ops.fast import dropout_mask, lora_linear_backward, lora_linear_forward, rows
from minilora.parameter import Module, Parameter


@dataclass(eq=False)
class LoRAFactors(Module):
    """One adapter's part in one layer: delta_W = scale * B @ A.

    Parameters
    ----------
    A : Parameter of shape (r, I)
    B : Parameter of shape (O, r)
    scale : float
    dropout : float
        The probability that an input of A is dropped in training.
    config : LoRAConfig
        The configuration that the adapter was made from.
    """

    A: Parameter
    B: Parameter
    scale: float
    dropout: float = 0.0
    config: Any = None
    draws_from: Any = field(default=None, init=False, repr=False)  # set by `adapter_dropout`, for a step

    def forward(self, x: Array, base: Linear) -> tuple[Array, Any]:
        """(..., I) -> (..., O): the result of the Linear `base` with delta_W added to its W."""
        bias = None if base.bias is None else base.bias.data
        y, cache = lora_linear_forward(x, base.W.data, bias, self.A.data, self.B.data, self.scale, self.dropout_mask(x))
        return y, without_values(cache, base.W)

    def dropout_mask(self, x: Array) -> Array | None:
        """0 where an input is dropped, 1 / (1 - p) elsewhere; None outside `adapter_dropout`, or for p = 0."""
        if self.draws_from is None or not self.dropout:
            return None
        return dropout_mask(x, self.dropout, self.draws_from)

    def backward(self, dy: Array, cache: Any) -> Array:
        """(..., O) -> (..., I)"""
        dx, dA, dB = lora_linear_backward(dy, with_values(cache))
        self.A.accumulate(dA)
        self.B.accumulate(dB)
        return dx

    def products(self, W: Array) -> list[tuple[Array, ...]]:
        """[(W,), (A, scale * B)], the matrices of `forward`; see `Linear.products`."""
        return [(W,), (self.A.data, self.scale * self.B.data)]

    def arrays(self) -> dict[str, Array]:
        """The arrays that a file must hold, by name."""
        return {name: p.data for name, p in self.named_parameters()}

    def low_rank(self) -> Any:
        """B, A and scale, such that scale * B @ A is delta_W."""
        return self.B.data, self.A.data, self.scale

    def delta_W(self, W: Array) -> Array:
        """scale * B @ A, (O, r) @ (r, I) -> (O, I), whatever the frozen W is."""
        B, A, scale = self.low_rank()
        return scale * (B @ A)


def deepcopy_sharing(factors: Any, memo: dict[int, Any], *constants: Array) -> Any:
    """A deep copy of an adapter's part in a layer that has the very same constants: for its `__deepcopy__`."""
    memo |= {id(constant): constant for constant in constants}  # deepcopy treats these as already copied
    twin = copy.copy(factors)
    vars(twin).update(copy.deepcopy(vars(factors), memo))
    return twin


class AdaptedCache(NamedTuple):
    owner: Any  # what made `inner`: the active LoRAFactors, or the base
    inner: Any


class LoRALinear(Module):
    """y = x W^T + bias + scale (dropout(x) A^T) B^T, with W and bias those of `base`, which does not change.

    Parameters
    ----------
    base : Linear

    Attributes
    ----------
    adapters : dict of str to LoRAFactors
        Or whatever else adds to W, and has the same methods: see `methods/random_subspace.py`.
    active : str or None
        The adapter that `forward` uses and whose A and B are this layer's parameters; None: only the base.
    """

    def __init__(self, base: Linear) -> None:
        self.base: Any = base
        self.adapters: dict[str, Any] = {}
        self.active: str | None = None
        self._frozen: Parameter | None = None  # while merged: the base's own W
        self._frozen_bias: Parameter | None = None  # and its bias, where that changes too

    def members(self) -> Iterator[tuple[str, Parameter | Module]]:
        yield "base", self.base
        if self.active is not None:
            yield from self.factors.members()

    @property
    def factors(self) -> LoRAFactors:
        """The active adapter's LoRAFactors."""
        return self.adapters[self.active]  # type: ignore[index]

    @property
    def A(self) -> Parameter:
        """The active adapter's down projection, a Parameter of shape (r, I)."""
        return self.factors.A

    @property
    def B(self) -> Parameter:
        """The active adapter's up projection, a Parameter of shape (O, r)."""
        return self.factors.B

    @property
    def scale(self) -> float:
        """The active adapter's alpha / r, or alpha / sqrt(r) with rsLoRA."""
        return self.factors.scale

    @property
    def merged(self) -> bool:
        """True while base.W holds W + delta_W."""
        return self._frozen is not None

    @property
    def frozen(self) -> Parameter:
        """The base's own W, (O, I), also while merged."""
        return self.base.W if self._frozen is None else self._frozen

    @property
    def frozen_bias(self) -> Parameter | None:
        """The base's own bias, (O,), also while merged; None if it has none."""
        return self.base.bias if self._frozen_bias is None else self._frozen_bias

    @property
    def at_work(self) -> Any:
        """What computes y: the active adapter's factors; or the base, if none is active or W holds W + delta_W."""
        if self.active is None or self.merged:
            return self.base
        return self.adapters[self.active]

    @property
    def draws_from(self) -> Any:
        """The generator that the active adapter draws its dropout from; None outside `adapter_dropout`."""
        return None if self.active is None else self.factors.draws_from

    @draws_from.setter
    def draws_from(self, rng: Any) -> None:
        if self.active is not None:
            self.factors.draws_from = rng

    @property
    def only_W(self) -> Parameter | None:
        """The base's W, if y = x W^T is all that the layer computes now; else None."""
        return self.base.only_W if self.at_work is self.base else None

    def forward(self, x: Array) -> tuple[Array, AdaptedCache]:
        """(..., I) -> (..., O)"""
        owner = self.at_work
        y, inner = owner.forward(x) if owner is self.base else owner.forward(x, self.base)
        return y, AdaptedCache(owner, inner)

    def cache_of(self, x: Array) -> AdaptedCache:
        """The cache of `forward`; where no adapter is at work, nothing need be multiplied for it."""
        owner = self.at_work
        return AdaptedCache(owner, owner.cache_of(x)) if owner is self.base else self.forward(x)[1]

    def backward(self, dy: Array, cache: AdaptedCache) -> Array:
        """(..., O) -> (..., I). W is a constant here; the base's bias is trained if it is trainable."""
        self.check_cache(cache)
        bias = self.base.bias
        if cache.owner is not self.base and bias is not None and bias.trainable:
            # forward: y = ... + bias, or l * (... + bias) of IA3, whose bias changes by (l - 1) * bias   so
            dbias = rows(dy).sum(axis=0)  # (M, O) -> (O,)
            change = self._change_of_bias(dbias)
            bias.accumulate(dbias if change is None else dbias + change)
        return cache.owner.backward(dy, cache.inner)

    def check_cache(self, cache: AdaptedCache) -> None:
        """Raise ValueError unless what made a cache is what is at work, and can be trained."""
        if cache.owner is not self.at_work:
            raise ValueError("cache was made by another adapter; run forward again after switching adapters")
        if self.merged and self.factors.trainable:
            raise ValueError("a merged adapter cannot be trained: call unmerge_lora(model) first")

    def products(self) -> tuple[list[tuple[Array, ...]], Array | None]:
        """The matrices of `forward`, and the bias; see `Linear.products`."""
        owner, (W, bias) = self.at_work, self.base.products()
        if owner is self.base:
            return W, bias
        change = self.delta_bias()
        return owner.products(self.base.W.data), bias if change is None else bias + change

    def low_rank(self) -> tuple[Array, Array, float] | None:
        """The active adapter's B, A and scale, whose product is delta_W; None if it is not such a product."""
        return self.factors.low_rank()

    def delta_W(self) -> Array:
        """What the active adapter adds to W, (O, I), for merging and inspection; training never forms it."""
        return self.factors.delta_W(self.frozen.data)

    def delta_bias(self) -> Array | None:
        """What the active adapter adds to the bias, (O,): None for all but IA3, which scales whole outputs."""
        bias = self.frozen_bias
        return None if bias is None else self._change_of_bias(bias.data)

    def _change_of_bias(self, bias: Array) -> Array | None:
        """What the active adapter makes a bias change by, or its gradient: a number for each entry scales both."""
        change = getattr(self.factors, "delta_bias", None)
        return None if change is None else change(bias)

    def merge(self) -> None:
        """W <- W + delta_W in a new Parameter, and the bias likewise where it changes; the frozen ones are kept."""
        if self.active is None or self.merged:
            return
        base, change = self.base, self.delta_bias()
        merged = Parameter(base.W.data + self.factors.delta_W(base.W.data), trainable=False, name=base.W.name)
        self._frozen, base.W = base.W, merged
        if change is not None:
            merged = Parameter(base.bias.data + change, trainable=False, name=base.bias.name)
            self._frozen_bias, base.bias = base.bias, merged

    def unmerge(self) -> None:
        """Put what was frozen back: the same Parameters, and so the same bits. (W + D - D would not restore them.)"""
        self.base.W, self._frozen = self.frozen, None
        if self._frozen_bias is not None:
            self.base.bias, self._frozen_bias = self._frozen_bias, None


def lora_scale(alpha: float, rank: int, rslora: bool = False) -> float:
    """alpha / r (the paper, section 4.1), or alpha / sqrt(r) (rsLoRA, Kalajdzievski, 2023)."""
    return float(alpha / math.sqrt(rank) if rslora else alpha / rank)


def factors_of(model: Module) -> list[LoRAFactors]:
    """All LoRAFactors of a model, whichever adapter is active."""
    modules = [model, *(module for _, module in model.named_modules())]
    held = [f for module in modules if isinstance(module, LoRALinear) for f in module.adapters.values()]
    return [module for module in (*held, *modules) if isinstance(module, LoRAFactors)]
