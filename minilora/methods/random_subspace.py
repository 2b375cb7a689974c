"""Training in a random subspace (Li et al., 2018; Aghajanyan et al., 2021): how an intrinsic dimension is measured.

    W = W0 + P theta,      theta (d,), shared by all adapted matrices; P drawn once, and fixed

Only theta is trained: d numbers, however large the model is. The smallest d that reaches 90 % of what full fine-tuning
reaches is the task's intrinsic dimension d_90. Aghajanyan et al. find it to be a few hundred for large pretrained
models, which is where LoRA's hypothesis comes from ("we hypothesize the updates to the weights also have a low
intrinsic rank during adaptation", section 4.1). The two are not the same. A dimension says how many numbers move the
model, a rank in how many directions of its input and output a single matrix moves: P theta is a matrix of full rank
even for d = 1 (of random signs, and nearly always), and a LoRA of rank 1 has O + I numbers in each matrix.

`ops/random_subspace.py` has the mathematics, and why norms are kept. P is not stored: a file holds theta and the seed,
from which P is drawn again, 4 bytes for each number of W. The papers' subspace is one of all parameters; here it is one
of the linear maps that are targets, the same that LoRA would adapt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import Array
from minilora.layers.linear import Linear, without_frozen
from minilora.limits import shown
from minilora.methods.lora.apply import attach, own_of, shape_of, target_layers
from minilora.methods.lora.config import LoRAConfig
from minilora.methods.lora.layer import deepcopy_sharing
from minilora.methods.selection import check_integer, copies, new_array
from minilora.methods.switching import base_in_place, check_new_name
from minilora.ops.fast import linear_backward, linear_forward, random_subspace_backward, random_subspace_forward
from minilora.parameter import Module, Parameter


@dataclass(frozen=True)
class RandomSubspaceConfig:
    """The dimension of the subspace, and which matrices move in it.

    Parameters
    ----------
    dimension : int
        d, from 1 to D, the number of all entries of the targets' W.
    targets : sequence of str
        Names of linear layers, as in `LoRAConfig`.
    seed : int, optional
        Draws P, together with D and d. If it is not given, it is drawn when the method is applied, and the adapter's
        own configuration then has it.
    """

    dimension: int = 1000
    targets: Sequence[str] = ("q_proj", "v_proj")
    seed: int | None = None

    def __post_init__(self) -> None:
        check_integer("dimension", self.dimension)
        object.__setattr__(self, "targets", LoRAConfig(targets=self.targets).targets)
        if self.seed is not None:
            check_integer("seed", self.seed, least=0)
            if self.seed >= 2**64:
                raise ValueError(f"seed was {shown(self.seed)}; it must be below 2^64")


class RandomSubspaceLinearCache(NamedTuple):
    linear: Any
    subspace: Any


@dataclass(eq=False)
class RandomSubspaceFactors(Module):
    """One layer's part of the subspace: y = x (W + P theta)^T + bias. A LoRALinear holds it, as it does A and B.

    Parameters
    ----------
    theta : Parameter of shape (d,)
        The same one in every layer.
    index : integer ndarray of shape (O, I)
    root_counts : ndarray of shape (d,)
        See `random_subspace_forward`.
    config : RandomSubspaceConfig
    """

    theta: Parameter
    index: Array
    root_counts: Array
    config: RandomSubspaceConfig
    draws_from: Any = None  # it has no dropout

    def __deepcopy__(self, memo: dict[int, Any]) -> "RandomSubspaceFactors":
        """A replica shares P, as it shares the arrays of parameters."""
        return deepcopy_sharing(self, memo, self.index, self.root_counts)

    def forward(self, x: Array, base: Linear) -> tuple[Array, RandomSubspaceLinearCache]:
        """(..., I) -> (..., O)"""
        delta, subspace_cache = random_subspace_forward(self.theta.data, self.index, self.root_counts)  # (O, I)
        bias = None if base.bias is None else base.bias.data
        y, linear_cache = linear_forward(x, base.W.data + delta, bias)
        return y, RandomSubspaceLinearCache(without_frozen(linear_cache, self.theta), subspace_cache)

    def backward(self, dy: Array, cache: RandomSubspaceLinearCache) -> Array:
        """(..., O) -> (..., I)"""
        dx, dW, _ = linear_backward(dy, cache.linear)
        if dW is not None:
            # forward: W = W0 + P theta   so
            self.theta.accumulate(random_subspace_backward(dW, cache.subspace))  # (O, I) -> (d,)
        return dx

    def products(self, W: Array) -> list[tuple[Array, ...]]:
        """[(W + P theta,)], a new array."""
        return [(W + self.delta_W(W),)]

    def arrays(self) -> dict[str, Array]:
        """The arrays that a file must hold, by name: theta, which is the same one in every layer."""
        return {"theta": self.theta.data}

    def low_rank(self) -> None:
        """None: P theta has full rank."""

    def delta_W(self, W: Array) -> Array:
        """P theta, (O, I)."""
        return random_subspace_forward(self.theta.data, self.index, self.root_counts)[0]


def apply_random_subspace(
    model: Module, config: RandomSubspaceConfig, *, rng: numpy.random.Generator, name: str = "random-subspace"
) -> None:
    """Let the targets of a model move in a random subspace, in place, and freeze everything else.

    Parameters
    ----------
    model : Module
    config : RandomSubspaceConfig
    rng : numpy.random.Generator
        Draws the seed, if `config` has none.
    name : str

    Raises
    ------
    ValueError
        If a target is no linear layer of the model, the dimension is larger than the targets together, or the name is
        taken. The model is then unchanged.
    """
    check_new_name(model, name)
    as_lora = LoRAConfig(rank=1, targets=config.targets)  # which layers those are, and what is trained besides
    with base_in_place(model):
        layers = target_layers(model, as_lora)
        parts = copies(own_of(model, as_lora, layers))
    sizes = {path: O * I for path, (O, I) in ((path, shape_of(layer)) for path, layer in layers.items())}
    d, D = config.dimension, sum(sizes.values())
    if d > D:
        raise ValueError(f"dimension was {d}; it must be from 1 to {D}, the number of entries of all targets")
    seed = config.seed if config.seed is not None else int(rng.integers(2**32))
    config = replace(config, seed=seed)
    theta = Parameter(new_array(model, numpy.zeros(d)))
    root_counts = new_array(model, numpy.sqrt(D // d + (numpy.arange(d) < D % d)))  # (d,)
    factors, before = {}, 0
    for n, (path, layer) in enumerate(layers.items()):
        index = draw_index(sizes[path], before, d, (seed, n)).reshape(shape_of(layer))
        factors[path] = RandomSubspaceFactors(theta, model.xp.asarray(index), root_counts, config)
        before += sizes[path]
    attach(model, name, config, factors, parts)


def draw_index(n: int, before: int, d: int, seed: Sequence[int]) -> numpy.ndarray:
    """The rows of P for the n entries of one matrix, as `random_subspace_forward` takes them.

    Entry k is number `before` + k of all in a shuffled order, and moves with the number of theta that comes next: j =
    (before + place of k) mod d. So each theta_j has D // d entries, or one more, and none is left without.

    The bits come from PCG64 itself, whose stream NumPy keeps the same in all versions, so that a file stays valid. The
    order of 64-bit numbers shuffles; the last bit of each is the sign, which the order hardly depends on.

    Parameters
    ----------
    n : int
    before : int
        How many entries the matrices before this one have.
    d : int
    seed : sequence of int

    Returns
    -------
    index : int32 ndarray of shape (n,)
        From 0 to 2 d - 1.
    """
    bits = numpy.random.PCG64(numpy.random.SeedSequence(list(seed))).random_raw(n)  # (n,) uint64
    index = numpy.empty(n, numpy.int32)
    index[numpy.argsort(bits, kind="stable")] = (before + numpy.arange(n)) % d
    return index + numpy.int32(d) * (bits & numpy.uint64(1)).astype(numpy.int32)
