"""Leaving an array out of a cache that the backward can make again for next to nothing.

A layer's input is kept for the gradients of its weights. Where that input is a product of arrays that the cache has
anyway, h = gain * xhat or silu(gate) * up, keeping it costs memory from the forward to the backward, and making it
again costs a pass or two over it. So a block forgets it, and the backward puts it back first:

    cache = forget(cache, h, "h")
    ...
    cache = put_back(cache, "h", lambda: gain * xhat)

An array is found by identity, in NamedTuples and tuples: this knows nothing of the layers that have kept it. If none
has, because their weights are frozen, nothing is made again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from minilora.arrays.backend import Array


class Forgotten(NamedTuple):
    """What stands in a cache instead of an array."""

    name: str


def forget(cache: Any, array: Array, name: str) -> Any:
    """The cache with ``Forgotten(name)`` wherever it holds this very array."""
    return _replaced(cache, lambda leaf: Forgotten(name) if leaf is array else leaf)


def put_back(cache: Any, name: str, make: Callable[[], Array]) -> Any:
    """The cache with the array that `make` returns wherever it holds ``Forgotten(name)``; `make` is called once, or not
    at all if it is nowhere."""
    made: list[Array] = []

    def found(leaf: Any) -> Any:
        if not isinstance(leaf, Forgotten) or leaf.name != name:
            return leaf
        made[:] = made or [make()]
        return made[0]

    return _replaced(cache, found)


def _replaced(cache: Any, change: Callable[[Any], Any]) -> Any:
    if not isinstance(cache, tuple) or isinstance(cache, Forgotten):
        return change(cache)
    parts = [_replaced(part, change) for part in cache]
    if all(a is b for a, b in zip(parts, cache, strict=True)):
        return cache
    return type(cache)(*parts) if hasattr(cache, "_fields") else tuple(parts)
