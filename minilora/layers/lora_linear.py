"""LoRALinear: a frozen Linear with low-rank adapters beside it, of which at most one is active."""

import math
from dataclasses import dataclass
from typing import Any

from minilora.layers.linear import Linear
from minilora.ops.fast import (
    LinearCache,
    dropout_mask,
    linear_dbias,
    lora_linear_backward,
    lora_linear_forward,
)
from minilora.parameter import Module, Parameter


@dataclass(eq=False)
class LoRAFactors(Module):
    """One adapter's share in one layer: delta_W = scale * B @ A.

    Parameters
    ----------
    A : Parameter of shape (r, I)
    B : Parameter of shape (O, r)
    scale : float
    dropout : float
        The probability that an input of A is dropped in training.
    config : LoRAConfig
        What the adapter was made from.
    """

    A: Parameter
    B: Parameter
    scale: float
    dropout: float = 0.0
    config: Any = None

    def forward(self, x, base, rng=None):
        """(..., I) -> (..., O): what the Linear `base` gives with delta_W added to its W."""
        bias = None if base.bias is None else base.bias.data
        return lora_linear_forward(x, base.W.data, bias, self.A.data, self.B.data, self.scale, self.mask(x, rng))

    def mask(self, x, rng):
        """Dropout's mask for x; None without an rng, or without dropout."""
        return dropout_mask(x, self.dropout, rng) if rng is not None and self.dropout else None

    def backward(self, dy, cache):
        """(..., O) -> (..., I)"""
        dx, dA, dB = lora_linear_backward(dy, cache)
        if self.A.trainable:
            self.A.accumulate(dA)
        if self.B.trainable:
            self.B.accumulate(dB)
        return dx

    def arrays(self):
        """What a file has to hold, by name."""
        return {name: p.data for name, p in self.members()}

    def low_rank(self):
        """B, A and scale, arrays of which scale * B @ A is delta_W."""
        return self.B.data, self.A.data, self.scale

    def delta_W(self, W):
        """scale * B @ A, (O, r) @ (r, I) -> (O, I), whatever the frozen W is."""
        B, A, scale = self.low_rank()
        return scale * (B @ A)


class LoRALinear(Module):
    """y = x W^T + bias + scale (dropout(x) A^T) B^T, with W and bias those of `base`, which stays what it is.

    Parameters
    ----------
    base : Linear

    Attributes
    ----------
    adapters : dict of str to LoRAFactors
    active : str or None
        The adapter that `forward` uses and whose A and B are this layer's parameters; None gives the base alone.
    """

    def __init__(self, base: Linear):
        self.base = base
        self.adapters: dict[str, LoRAFactors] = {}
        self.active: str | None = None
        self._unmerged_W = None  # while merged: the array that merging put aside

    def members(self):
        yield "base", self.base
        if self.active is not None:
            yield from self.factors.members()

    @property
    def factors(self):
        """The active adapter's LoRAFactors."""
        return self.adapters[self.active]

    @property
    def A(self):
        """The active adapter's down projection, a Parameter of shape (r, I)."""
        return self.factors.A

    @property
    def B(self):
        """The active adapter's up projection, a Parameter of shape (O, r)."""
        return self.factors.B

    @property
    def scale(self):
        """The active adapter's alpha / r, or alpha / sqrt(r) with rsLoRA."""
        return self.factors.scale

    @property
    def merged(self):
        """True while base.W holds W + delta_W."""
        return self._unmerged_W is not None

    @property
    def frozen_W(self):
        """The base's own W, (O, I), also while merged."""
        return self._unmerged_W if self.merged else self.base.W.data

    def forward(self, x, rng=None):
        """(..., I) -> (..., O). With an rng, and an adapter that has it, dropout acts on what enters A."""
        if self.active is None or self.merged:
            return self.base.forward(x)
        return self.factors.forward(x, self.base, rng)

    def backward(self, dy, cache):
        """(..., O) -> (..., I). W is a constant here; the base's bias is trained if it is trainable."""
        if isinstance(cache, LinearCache):
            if self.merged and self.A.trainable:
                raise ValueError("a merged adapter cannot be trained: call unmerge_lora(model) first")
            return self.base.backward(dy, cache)
        if self.active is None or getattr(cache, "A", None) is not self.A.data:
            raise ValueError("cache was made by another adapter; run forward again after switching adapters")
        bias = self.base.bias
        if bias is not None and bias.trainable:
            bias.accumulate(linear_dbias(dy, LinearCache(cache.x, cache.W, bias.data)))
        return self.factors.backward(dy, cache)

    def delta_W(self):
        """What the active adapter adds to W, (O, I), for merging and for looking at; training never forms it."""
        return self.factors.delta_W(self.frozen_W)

    def merge(self):
        """W <- W + delta_W in a new array; the frozen one is put aside."""
        if self.active is not None and not self.merged:
            W = self.base.W.data
            self._unmerged_W, self.base.W.data = W, W + self.delta_W()

    def unmerge(self):
        """Put the frozen W back: the same array, and so the same bits. (W + D - D would not give them.)"""
        if self.merged:
            self.base.W.data = self._unmerged_W
            self._unmerged_W = None


def lora_scale(alpha, rank, rslora=False):
    """alpha / r (the paper, section 4.1), or alpha / sqrt(r) (rsLoRA, Kalajdzievski, 2023)."""
    return float(alpha / math.sqrt(rank) if rslora else alpha / rank)
