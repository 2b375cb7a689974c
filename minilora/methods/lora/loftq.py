"""LoftQ (Li et al., 2023, algorithm 1): codes Q, A and B that together are as close to W as they can be.

LoRA beside a quantised base starts from Q, because B = 0: from a model that is a little worse than the one it was made
from. LoftQ lets the adapter begin as a correction of that. It looks for the minimum of

    || W - Q - scale B A ||_F       over the codes Q and the matrices B (O, r) and A (r, I)

by alternating between the two, from B A = 0:

    Q     <-  quantise(W - scale B A)                    the residual's codes
    B, A  <-  the best rank-r approximation of W - Q     the r largest singular directions (Eckart and Young)

The second step can only lower the error. The first one can raise it, because rounding to the nearest level of each
block is not the nearest Q in the Frobenius norm once the block's absmax moves. So the best of all steps is kept: with
more steps the error is never larger.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy

from minilora.arrays.backend import Array, get_xp
from minilora.layers import Packed
from minilora.limits import shown
from minilora.methods.lora.apply import attach, drawn, lora_scale_of, target_layers
from minilora.methods.lora.config import FROM_W, LoRAConfig
from minilora.methods.lora.variants import best_factors
from minilora.methods.quantization import linears_to_quantize, packing, put_quantized
from minilora.methods.switching import check_new_name
from minilora.parameter import Module


class LoftQ(NamedTuple):
    packed: Packed
    B: Array  # (O, r)
    A: Array  # (r, I)
    errors: list[float]  # ||W - Q - scale B A|| after each step


def loftq(W: Array, rank: int, scale: float, pack: Callable[[Array], Packed], steps: int = 5) -> LoftQ:
    """The codes of W, and the B and A beside them, by alternation; of all steps the best.

    Parameters
    ----------
    W : ndarray of shape (O, I)
    rank : int
        r.
    scale : float
        Of LoRA: alpha / r.
    pack : callable
        Quantises a matrix, such as `layers.quantized.pack_nf4`.
    steps : int
        T; at least 1.
    """
    norm, found, errors = get_xp(W=W).linalg.norm, [], []
    correction = 0.0  # scale B A
    for _ in range(steps):
        packed = pack(W - correction)
        missing = W - packed.values().astype(W.dtype, copy=False)  # (O, I)
        B, A = best_factors(missing, rank, scale)
        correction = scale * (B @ A)  # (O, I)
        errors.append(float(norm(missing - correction)))
        found.append((packed, B, A))
    return LoftQ(*found[errors.index(min(errors))], errors)


def apply_loftq(
    model: Module, config: LoRAConfig, *, bits: int | str = 4, steps: int = 5, name: str = "default"
) -> None:
    """`quantize` and `apply_lora` in one, with the codes and the start of A and B from LoftQ.

    Nothing is drawn, so the same model gives the same base again: for an adapter that was trained beside it, call this,
    and then ``load_adapter(model, path, name="trained")``.

    Parameters
    ----------
    model : Module
        Not quantised, and without adapters.
    config : LoRAConfig
        LoRA or rsLoRA; its targets get both codes and factors from LoftQ, all other matrices of the blocks their codes
        alone.
    bits : {4, 8, "nf4", "q4_1", "q8_0"}
    steps : int
        T, from 1 to 100; the paper has 5 at most.
    name : str
        The adapter's.

    Raises
    ------
    ValueError
        If an argument does not fit; the model is then unchanged.
    """
    if config.dora or config.init in FROM_W or min(config.alpha, *config.alpha_pattern.values(), numpy.inf) <= 0:
        raise ValueError(
            "config had dora, init='pissa' or 'lora-ga', or an alpha of 0 or less; for LoftQ it must have none"
        )
    if not isinstance(steps, int) or not 1 <= steps <= 100:
        raise ValueError(f"steps was {shown(steps)}; it must be an integer from 1 to 100")
    check_new_name(model, name)
    pack, layers, targets = packing(bits), linears_to_quantize(model), target_layers(model, config)
    if missing := [path for path in targets if path not in layers]:
        raise ValueError(f"targets named {missing[0]}, which is not a matrix of a block, or is quantised already")
    factors, parts = drawn(model, config, numpy.random.default_rng(0))  # what is drawn is replaced below
    packed = {}
    for path, layer in layers.items():
        W = layer.W.data
        if path not in targets:
            packed[path] = pack(path, W)
            continue
        found = loftq(W, config.rank_of(path), lora_scale_of(path, config), functools.partial(pack, path), steps)
        packed[path] = found.packed
        factors[path].A.data[...], factors[path].B.data[...] = found.A, found.B
    put_quantized(model, packed)
    attach(model, name, config, factors, parts)
