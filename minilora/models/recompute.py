"""Recomputation, or gradient checkpointing (Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost").

    model.recompute = True

Of a block, only its input x is kept: (N, T, C) instead of all that its backward needs. The backward runs the block's
forward again, from that x, uses the cache at once, and drops it. So there is one block's cache at a time, for a second
forward of the blocks: 4 instead of 3 passes where everything is trained, 3 instead of 2 where hardly any weight is. (It
leaves out what only the result needs, such as the last product of an MLP: `cache_of`.)

The second forward is the first to the bit, and so are the gradients: the weights are the same, and what a block draws,
such as an adapter's dropout, is drawn again from a copy of the generator as it was. Each backward here is by hand, so
nothing depends on whether x itself "requires" a gradient: elsewhere, a first block without one leaves LoRA's B at zero
(https://github.com/microsoft/LoRA/issues/120).
"""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.parameter import Module


class RecomputedCache(NamedTuple):
    x: Array  # (N, T, C), the block's input
    options: dict[str, Any]
    weights: list[Array]  # the arrays that the block's parameters held
    draws: list[tuple[Any, Any]]  # each module that can drop, and a copy of the generator that it was to draw from


def run_block(model: Any, block: Any, x: Array, **options: Any) -> tuple[Array, Any]:
    """A block's forward, (N, T, C) -> (N, T, C); if ``model.recompute``, with a RecomputedCache.

    Parameters
    ----------
    model : Model
    block : Module
    x : ndarray of shape (N, T, C)
    **options
        Whatever else the block's forward takes.
    """
    if not model.recompute:
        return block.forward(x, **options)
    cache = RecomputedCache(x, options, _weights(block), _copied(_draws(block)))
    y, _ = block.forward(x, **options)
    return y, cache


def backward_block(block: Any, dy: Array, cache: Any) -> Any:
    """Backward of `run_block`: what the block's backward returns; it adds to every trainable p.grad.

    Raises
    ------
    ValueError
        If the block has other weights than in the forward that is to be run again.
    """
    if not isinstance(cache, RecomputedCache):
        return block.backward(dy, cache)
    weights = _weights(block)
    if len(weights) != len(cache.weights) or any(a is not b for a, b in zip(weights, cache.weights, strict=True)):
        raise ValueError("cache was made by other weights, or another adapter; run forward again")
    with _drawing_from(_copied(cache.draws), _draws(block)):
        block_cache = block.cache_of(cache.x, **cache.options)
    return block.backward(dy, block_cache)


@contextlib.contextmanager
def recomputed(model: Any, on: bool) -> Iterator[None]:
    """A context in which a model recomputes if `on`, or if it does so already."""
    before = model.recompute
    model.recompute = before or on
    try:
        yield
    finally:
        model.recompute = before


def _weights(block: Module) -> list[Array]:
    return [array for p in block.parameters() for array in p.held]


def _draws(block: Module) -> list[tuple[Any, Any]]:
    """The modules below a block that can drop, each with the generator that it draws from now, or None."""
    modules = [module for _, module in block.named_modules() if hasattr(module, "draws_from")]
    return [(module, module.draws_from) for module in modules]


def _copied(draws: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Modules with copies of their generators; those that share one share its copy."""
    copies: dict[int, Any] = {}
    return [(module, copy.deepcopy(rng, copies)) for module, rng in draws]


@contextlib.contextmanager
def _drawing_from(draws: list[tuple[Any, Any]], afterwards: list[tuple[Any, Any]]) -> Iterator[None]:
    try:
        for module, rng in draws:
            module.draws_from = rng
        yield
    finally:
        for module, rng in afterwards:
            module.draws_from = rng
