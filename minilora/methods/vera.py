"""VeRA (Kopiczko et al., 2023): one random A and B for all layers, of which each learns how to scale rows.

    delta_W = diag(b) B diag(d) A         A and B frozen, d (r,) and b (O,) learned in each layer

r + O numbers a layer, where LoRA learns r (O + I): a high rank costs little. `ops/vera_linear.py` has the mathematics.

A (r, I) and B (O, r) have the I and O of the widest target, and a layer uses the first columns and rows of them, as in
PEFT (https://github.com/huggingface/peft/issues/1816). They are drawn by Kaiming's rule, U(-sqrt(6 / I), sqrt(6 / I))
and U(-sqrt(6 / r), sqrt(6 / r)), from the configuration's seed; a file then needs d and b alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from minilora.methods.switching import base_in_place, check_new_name
from minilora.ops.fast import vera_linear_backward, vera_linear_forward
from minilora.parameter import Constant, Module, Parameter


@dataclass(frozen=True)
class VeRAConfig:
    """VeRA's settings; `targets` and `dropout` are LoRA's.

    Parameters
    ----------
    rank : int
        r, of any size: PEFT's 256 is above the width of many a small model.
    targets : sequence of str
    d_initial : float
        What each d starts with; the paper has 0.1. b starts at 0.
    dropout : float
    seed : int, optional
        Draws A and B. If it is not given, it is drawn when the method is applied, and the adapter's own configuration
        then has it.
    save_projection : bool
        Whether a file holds A and B. It must where they were not drawn here, as those of PEFT's files.
    """

    rank: int = 256
    targets: Sequence[str] = ("q_proj", "v_proj")
    d_initial: float = 0.1
    dropout: float = 0.0
    seed: int | None = None
    save_projection: bool = False

    def __post_init__(self) -> None:
        as_lora = LoRAConfig(rank=self.rank, targets=self.targets, dropout=self.dropout)  # which checks them
        for name in ("rank", "targets", "dropout"):
            object.__setattr__(self, name, getattr(as_lora, name))
        if not is_number(self.d_initial) or self.d_initial == 0:
            raise ValueError(f"d_initial was {shown(self.d_initial)}; it must be a finite number other than 0")
        object.__setattr__(self, "d_initial", as_python(self.d_initial))
        if self.seed is not None:
            check_integer("seed", self.seed, least=0)
        if not isinstance(self.save_projection, bool):
            raise ValueError(f"save_projection was {shown(self.save_projection)}; it must be True or False")


@dataclass(eq=False)
class VeRAFactors(LoRAFactors):
    """One layer's part of VeRA: y = x W^T + bias + b * ((d * (x A^T)) B^T). A LoRALinear holds it.

    Parameters
    ----------
    A, B : Constant
        The same in every layer; of shapes (r, I) and (O, r), with the largest I and O of all layers.
    d : Parameter of shape (r,)
    b : Parameter of shape (O,)
    in_features : int
        I of this layer.
    """

    d: Parameter = None  # type: ignore[assignment]  # they stand behind fields with defaults
    b: Parameter = None  # type: ignore[assignment]
    in_features: int = 0

    def projections(self) -> tuple[Array, Array]:
        """The A (r, I) and B (O, r) of this layer."""
        return self.A.data[:, : self.in_features], self.B.data[: self.b.size]

    def forward(self, x: Array, base: Linear) -> tuple[Array, Any]:
        """(..., I) -> (..., O)"""
        A, B = self.projections()
        bias = None if base.bias is None else base.bias.data
        y, cache = vera_linear_forward(x, base.W.data, bias, A, B, self.d.data, self.b.data, self.dropout_mask(x))
        return y, without_values(cache, base.W)

    def backward(self, dy: Array, cache: Any) -> Array:
        """(..., O) -> (..., I)"""
        dx, dd, db = vera_linear_backward(dy, with_values(cache))
        self.d.accumulate(dd)
        self.b.accumulate(db)
        return dx

    def low_rank(self) -> tuple[Array, Array, float]:
        """delta_W in LoRA's form: diag(b) B, diag(d) A, and 1."""
        A, B = self.projections()
        return self.b.data[:, None] * B, self.d.data[:, None] * A, 1.0

    def products(self, W: Array) -> list[tuple[Array, ...]]:
        """[(W,), (diag(d) A, diag(b) B)]"""
        B, A, _ = self.low_rank()
        return [(W,), (A, B)]

    def arrays(self) -> dict[str, Array]:
        """The arrays that a file must hold, by name: d and b, and only where they cannot be drawn again A and B."""
        drawn = () if self.config.save_projection else ("A", "B")
        return {name: array for name, array in super().arrays().items() if name not in drawn}


def apply_vera(model: Module, config: VeRAConfig, *, rng: numpy.random.Generator, name: str = "vera") -> None:
    """Give the targets of a model vectors d and b beside a shared random A and B, in place, and freeze everything else.

    Parameters
    ----------
    model : Module
    config : VeRAConfig
    rng : numpy.random.Generator
        Draws the seed, if `config` has none.
    name : str

    Raises
    ------
    ValueError
        If a target is no linear layer of the model, or the name is taken. The model is then unchanged.
    """
    check_new_name(model, name)
    layers, parts = adapted_by(model, config)
    seed = config.seed if config.seed is not None else int(rng.integers(2**32))
    A, B = draw_projections(config.rank, *widest(layers), seed)
    add_vera(model, name, replace(config, seed=seed), A, B, copies(parts))


def add_vera(
    model: Module, name: str, config: VeRAConfig, A: numpy.ndarray, B: numpy.ndarray, parts: dict[str, Any]
) -> None:
    """Add an adapter with this A (r, I) and B (O, r), d as at the start and b = 0; `parts` as in `attach`."""
    layers, _ = adapted_by(model, config)
    shared, r = (Constant(new_array(model, A)), Constant(new_array(model, B))), config.rank
    factors = {}
    for path, layer in layers.items():
        O, I = shape_of(layer)
        d, b = (Parameter(new_array(model, v)) for v in (numpy.full(r, config.d_initial), numpy.zeros(O)))
        common: Any = {"scale": 1.0, "dropout": config.dropout, "config": config}
        factors[path] = VeRAFactors(*shared, **common, d=d, b=b, in_features=I)
    attach(model, name, config, factors, parts)


def adapted_by(model: Module, config: VeRAConfig) -> tuple[dict[str, Any], dict[str, Parameter]]:
    """The layers that a configuration adapts, by path, and of what else an adapter has a copy."""
    as_lora = LoRAConfig(rank=1, targets=config.targets)  # which layers those are, and what is trained besides
    with base_in_place(model):
        layers = target_layers(model, as_lora)
        return layers, own_of(model, as_lora, layers)


def widest(layers: Mapping[str, Any]) -> tuple[int, int]:
    """The largest O, and the largest I, of all layers."""
    O, I = zip(*map(shape_of, layers.values()), strict=True)
    return max(O), max(I)


def draw_projections(r: int, O: int, I: int, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """A (r, I) and B (O, r) by Kaiming's rule, from the bits of PCG64, whose stream stays the same in all versions."""
    bits = numpy.random.PCG64(numpy.random.SeedSequence(seed)).random_raw(r * (I + O))  # uint64
    uniform = (bits >> numpy.uint64(11)) * 2.0**-52 - 1.0  # from -1 to 1, 53 bits
    A, B = numpy.split(uniform, [r * I])
    return math.sqrt(6 / I) * A.reshape(r, I), math.sqrt(6 / r) * B.reshape(O, r)


def vera_shapes(model: Module, config: VeRAConfig) -> dict[str, tuple[int, ...]]:
    """The arrays of an adapter's file by name, and their shapes; nothing is drawn for it, whatever the rank is."""
    layers, parts = adapted_by(model, config)
    (O, I), r, first = widest(layers), config.rank, next(iter(layers))
    shapes: dict[str, tuple[int, ...]] = {f"{first}.A": (r, I), f"{first}.B": (O, r)} if config.save_projection else {}
    for path, layer in layers.items():
        shapes |= {f"{path}.d": (r,), f"{path}.b": (shape_of(layer)[0],)}
    return shapes | {path: p.data.shape for path, p in parts.items()}
