"""IA3 (Liu et al., 2022): freeze a model, and learn a factor for each channel of its keys, values and MLPs.

    targets        y = l * (x W^T + bias)       l (O,): the outputs of k_proj and v_proj
    feedforward    y = (l * x) W^T + bias       l (I,): the inputs of the MLP's last map, its inner activations

Every l starts as ones, so that the model starts as its base, to the bit. What is learned is a diagonal matrix beside W,
diag(l) W or W diag(l): it can be merged, and then costs nothing. Its delta_W = diag(l - 1) W has the rank of W, with
fewer numbers than a LoRA of rank 1 has, I or O for O + I; but in a direction that W ignores, it cannot move.

PEFT's IA3Config has the same two lists of names. `ops/rescale.py` has the mathematics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import Array
from minilora.layers.linear import Linear, without_frozen
from minilora.layers.quantized import with_values
from minilora.methods.lora.apply import attach, linear_layers, own_of, shape_of, target_layers
from minilora.methods.lora.config import LoRAConfig, fits
from minilora.methods.selection import copies, new_array
from minilora.methods.switching import base_in_place, check_new_name
from minilora.ops.fast import linear_backward, linear_forward, rescale_backward, rescale_forward
from minilora.parameter import Module, Parameter

LAST_OF_MLP = ("fc_out", "down_proj")  # of a GPT's or an encoder's, and of a Llama's


@dataclass(frozen=True)
class IA3Config:
    """Which layers are scaled.

    Parameters
    ----------
    targets : sequence of str
        Names of linear layers whose outputs are scaled, as in `LoRAConfig`.
    feedforward : sequence of str, optional
        Names of linear layers whose inputs are scaled, even if `targets` names them too. If not given, the last map of
        each MLP: fc_out, or a Llama's down_proj.
    """

    targets: Sequence[str] = ("k_proj", "v_proj")
    feedforward: Sequence[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", LoRAConfig(targets=self.targets).targets)
        if self.feedforward is not None:
            object.__setattr__(self, "feedforward", LoRAConfig(besides=self.feedforward).besides)


class IA3Cache(NamedTuple):
    linear: Any
    rescale: Any


@dataclass(eq=False)
class IA3Factors(Module):
    """One layer's factors. A LoRALinear holds them, as it does A and B.

    Parameters
    ----------
    l : Parameter of shape (I,) or (O,)
    of_inputs : bool
        Whether l scales what the layer reads, or what it computes.
    config : IA3Config
    """

    l: Parameter
    of_inputs: bool
    config: IA3Config
    draws_from: Any = None  # it has no dropout

    def forward(self, x: Array, base: Linear) -> tuple[Array, IA3Cache]:
        """(..., I) -> (..., O)"""
        bias = None if base.bias is None else base.bias.data
        if self.of_inputs:
            h, rescale = rescale_forward(x, self.l.data)  # (..., I)
            y, linear = linear_forward(h, base.W.data, bias)  # (..., I) -> (..., O)
        else:
            u, linear = linear_forward(x, base.W.data, bias)  # (..., I) -> (..., O)
            y, rescale = rescale_forward(u, self.l.data)  # (..., O)
        return y, IA3Cache(without_frozen(linear, base.W), rescale)

    def backward(self, dy: Array, cache: IA3Cache) -> Array:
        """(..., O) -> (..., I)"""
        linear = with_values(cache.linear)
        if self.of_inputs:
            # forward: y = linear(l * x)   so
            dh, _, _ = linear_backward(dy, linear)  # (..., O) -> (..., I)
            dx, dl = rescale_backward(dh, cache.rescale)
        else:
            # forward: y = l * linear(x)   so
            du, dl = rescale_backward(dy, cache.rescale)
            dx, _, _ = linear_backward(du, linear)  # (..., O) -> (..., I)
        self.l.accumulate(dl)
        return dx

    def products(self, W: Array) -> list[tuple[Array, ...]]:
        """[(W diag(l),)] or [(diag(l) W,)], a new array; `delta_bias` is what the bias changes by."""
        return [(W * self._beside(W),)]

    def arrays(self) -> dict[str, Array]:
        """The arrays that a file must hold, by name."""
        return {"l": self.l.data}

    def low_rank(self) -> None:
        """None: delta_W has the rank of W."""

    def delta_W(self, W: Array) -> Array:
        """W diag(l - 1) or diag(l - 1) W, (O, I)."""
        return W * (self._beside(W) - 1.0)

    def delta_bias(self, bias: Array) -> Array | None:
        """(l - 1) * bias, (O,), where outputs are scaled; otherwise None."""
        return None if self.of_inputs else bias * (self.l.data - 1.0)

    def _beside(self, W: Array) -> Array:
        """l as a row or a column beside W: (1, I) or (O, 1)."""
        return self.l.data[None, :] if self.of_inputs else self.l.data[:, None]


def apply_ia3(model: Module, config: IA3Config, *, rng: Any = None, name: str = "ia3") -> None:
    """Scale keys, values and inner activations of a model, in place, and freeze everything else.

    Parameters
    ----------
    model : Module
    config : IA3Config
    rng : numpy.random.Generator, optional
        Not used: nothing is drawn.
    name : str

    Raises
    ------
    ValueError
        If a name is no linear layer of the model, or the adapter's name is taken. The model is then unchanged.
    """
    check_new_name(model, name)
    attach(model, name, config, *ia3_parts(model, config))


def ia3_parts(model: Module, config: IA3Config) -> tuple[dict[str, IA3Factors], dict[str, Any]]:
    """What a new adapter has: its factors, all ones, by path of the layer; and its copies of what else it trains."""
    with base_in_place(model):
        last = tuple(name for name in LAST_OF_MLP if any(fits(name, path) for path in linear_layers(model)))
        feedforward = last if config.feedforward is None else config.feedforward
        as_lora = LoRAConfig(rank=1, targets=(*config.targets, *feedforward))
        try:
            layers = target_layers(model, as_lora)
        except ValueError as error:
            raise ValueError(str(error).replace("targets", "targets or feedforward", 1)) from None
        parts = copies(own_of(model, as_lora, layers))
    factors = {}
    for path, layer in layers.items():
        (O, I), of_inputs = shape_of(layer), any(fits(name, path) for name in feedforward)
        l = Parameter(new_array(model, numpy.ones(I if of_inputs else O)))
        factors[path] = IA3Factors(l, of_inputs, config)
    return factors, parts
