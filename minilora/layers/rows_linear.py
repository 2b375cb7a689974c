"""RowsLinear: a LoRALinear of which each row of a batch uses an adapter of its own, or none."""

from typing import Any, NamedTuple

from minilora.layers.lora_linear import LoRALinear
from minilora.parameter import Module


class RowsLinearCache(NamedTuple):
    names: tuple[str | None, ...]
    groups: tuple[Any, ...]  # one cache a group


class RowsLinear(Module):
    """y[n] = what `layer` gives for x[n] with the adapter names[n].

    Rows of one adapter are computed together, as a batch of their own. An adapter that has no share in this layer
    leaves its rows to the base.

    Parameters
    ----------
    layer : LoRALinear
    names : sequence of str or None, of length N
    """

    def __init__(self, layer: LoRALinear, names):
        self.layer = layer
        self.names = tuple(names)
        owners = [name if name in layer.adapters else None for name in names]
        rows = {name: [n for n, owner in enumerate(owners) if owner == name] for name in dict.fromkeys(owners)}
        self.groups = [(name, layer.xp.asarray(indices)) for name, indices in rows.items()]

    def members(self):
        yield "base", self.layer.base
        for name, _ in self.groups:
            if name is not None:
                yield name, self.layer.adapters[name]

    def forward(self, x, rng=None):
        """(N, ..., I) -> (N, ..., O)"""
        if len(x) != len(self.names):
            raise ValueError(f"the batch had {len(x)} rows; adapters were named for {len(self.names)}")
        y, caches = None, []
        for name, rows in self.groups:
            part, cache = self._forward(name, x[rows], rng)  # (n, ..., O)
            if y is None:
                y = self.layer.xp.empty((len(x), *part.shape[1:]), dtype=part.dtype)
            y[rows] = part
            caches.append(cache)
        return y, RowsLinearCache(self.names, tuple(caches))

    def _forward(self, name, x, rng):
        base = self.layer.base
        return base.forward(x) if name is None else self.layer.adapters[name].forward(x, base, rng)

    def backward(self, dy, cache):
        """(N, ..., O) -> (N, ..., I)"""
        if not isinstance(cache, RowsLinearCache) or cache.names != self.names:
            raise ValueError("cache was made with other adapters for its rows; run forward again")
        dx = None
        for (name, rows), group in zip(self.groups, cache.groups, strict=True):
            # forward: y[rows] = f(x[rows]), and no two groups share a row   so   dx[rows] = f'(dy[rows])
            source = self.layer.base if name is None else self.layer.adapters[name]
            part = source.backward(dy[rows], group)  # (n, ..., I)
            if dx is None:
                dx = self.layer.xp.empty((len(dy), *part.shape[1:]), dtype=part.dtype)
            dx[rows] = part
        return dx
