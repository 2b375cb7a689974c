"""A layer that differs for each row of a batch: PerRowModule for any layer, PerRowLoRALinear for LoRA's adapters."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers import Linear
from minilora.methods.lora.layer import LoRAFactors, LoRALinear
from minilora.parameter import Module, Parameter


class PerRowCache(NamedTuple):
    owner: Any  # the PerRowModule that made it
    groups: tuple[Any, ...]  # one cache per group


class PerRowModule(Module):
    """y[n] = branches[names[n]](x[n]).

    Rows with the same name are computed together, as a batch.

    Parameters
    ----------
    branches : dict of str or None to Module
        None is the base, which also computes the rows of names without a branch.
    names : sequence of str or None, of length N
    """

    def __init__(self, branches: Mapping[str | None, Any], names: Sequence[str | None]) -> None:
        self.branches = branches
        self.names = tuple(names)
        owners = [name if name in branches else None for name in names]
        rows = {name: [n for n, owner in enumerate(owners) if owner == name] for name in dict.fromkeys(owners)}
        self.groups = [(name, branches[None].xp.asarray(indices)) for name, indices in rows.items()]

    def members(self) -> Iterator[tuple[str, Parameter | Module]]:
        yield "base", self.branches[None]
        for name, _ in self.groups:
            if name is not None:
                yield name, self.branches[name]

    def forward(self, x: Array) -> tuple[Array, PerRowCache]:
        """(N, ...) -> (N, ...)"""
        if len(x) != len(self.names):
            raise ValueError(f"the batch had {len(x)} rows; adapters were named for {len(self.names)}")
        y, caches = None, []
        for name, rows in self.groups:
            part, cache = self.branches[name].forward(x[rows])  # (n, ...)
            if y is None:
                y = self.xp.empty((len(x), *part.shape[1:]), dtype=part.dtype)
            y[rows] = part
            caches.append(cache)
        return y, PerRowCache(self, tuple(caches))

    def backward(self, dy: Array, cache: PerRowCache) -> Array:
        """(N, ...) -> (N, ...)"""
        if cache.owner is not self:
            raise ValueError("cache was made with other adapters for its rows; run forward again")
        dx = None
        for (name, rows), group in zip(self.groups, cache.groups, strict=True):
            # forward: y[rows] = f(x[rows]), and no two groups share a row   so   dx[rows] = f'(dy[rows])
            part = self.branches[name].backward(dy[rows], group)  # (n, ...)
            if dx is None:
                dx = self.xp.empty((len(dy), *part.shape[1:]), dtype=part.dtype)
            dx[rows] = part
        return dx


class PerRowLoRALinear(PerRowModule):
    """y[n] = layer(x[n]) with the adapter names[n], (..., I) -> (..., O).

    Parameters
    ----------
    layer : LoRALinear
    names : sequence of str or None, of length N
    """

    def __init__(self, layer: LoRALinear, names: Sequence[str | None]) -> None:
        adapted: dict[str | None, Any] = {
            name: WithFactors(layer.base, factors) for name, factors in layer.adapters.items()
        }
        super().__init__({None: layer.base, **adapted}, names)

    def members(self) -> Iterator[tuple[str, Parameter | Module]]:
        for name, branch in super().members():
            yield name, branch.factors if isinstance(branch, WithFactors) else branch


class WithFactors:
    """A Linear with one adapter."""

    def __init__(self, base: Linear, factors: LoRAFactors) -> None:
        self.base = base
        self.factors = factors

    def forward(self, x: Array) -> tuple[Array, Any]:
        """(..., I) -> (..., O)"""
        return self.factors.forward(x, self.base)

    def backward(self, dy: Array, cache: Any) -> Array:
        """(..., O) -> (..., I)"""
        return self.factors.backward(dy, cache)
