"""The linear maps that read the same row, side by side in one result: q, k and v; or gate and up.

    y = x W^T + (x A^T) B^T + bias          the second product where a layer has one

One row x makes little use of a processor, because every number of W is read from memory for a single multiplication:
what a token costs is reading W. So W is used where it is, and a large one by two threads, because two cores read faster
than one. Small maps are another matter. There, the number of calls counts, and they are joined into one W, a copy.
"""

from collections.abc import Sequence

from minilora.arrays.backend import Array, ArrayModule, get_xp, on_host
from minilora.arrays.reductions import vecdot
from minilora.arrays.second_thread import second_thread

SMALL = 2**18  # numbers: maps that have no more together are joined
LARGE = 2**20  # multiplications: from here on, a second thread computes half of them

Factors = tuple[Array, ...]  # (W,), or (A, B): x is multiplied by each, transposed, in this order
Map = tuple[Sequence[Factors], Array | None]  # x W^T + x A^T B^T, and the bias: what `Linear.products` returns
Piece = tuple[int, int, Array]  # y[:, a:b] = x W^T


class Products:
    """y = the maps of several layers, side by side: (N, I) -> (N, O_1 + O_2 + ...).

    Parameters
    ----------
    maps : sequence of Map
        The first of a map's Factors is (W,).
    """

    def __init__(self, maps: Sequence[Map]) -> None:
        if sum(factors[0][0].size for factors, _ in maps) <= SMALL:
            maps = [_joined(maps)]
        self.pieces: list[Piece] = []
        self.thin: list[tuple[int, int, Array, Array]] = []
        self.biases: list[tuple[int, int, Array]] = []
        start = 0
        for factors, bias in maps:
            (W,), *others = factors
            end = start + len(W)
            self.pieces.append((start, end, W))
            self.thin += [(start, end, A, B) for A, B in others]
            self.biases += [] if bias is None else [(start, end, bias)]
            start = end
        self.size = start
        self.halves = _halves(self.pieces, self.size // 2)
        self.alone = LARGE // (self.size * self.pieces[0][2].shape[1])  # rows that one thread multiplies
        self.one = self.pieces[0][2] if len(self.pieces) == 1 and not self.thin else None

    def __call__(self, x: Array) -> Array:
        """(N, I) -> (N, O)"""
        alone = len(x) <= self.alone or not on_host(x)
        if alone and self.one is not None:
            y = times(x, self.one)
            for _, _, bias in self.biases:
                y += bias
            return y
        y = get_xp(x=x).empty((len(x), self.size), x.dtype)
        helper = None if alone else second_thread()
        if helper is None:
            _multiply(x, self.pieces, y)
        else:
            first, second = self.halves
            helper.both(lambda: _multiply(x, first, y), lambda: _multiply(x, second, y))
        for a, b, A, B in self.thin:
            y[:, a:b] += times(times(x, A), B)
        for a, b, bias in self.biases:
            y[:, a:b] += bias
        return y


def times(x: Array, W: Array) -> Array:
    """x W^T, (N, I), (O, I) -> (N, O). On a CPU, a large W times a single row is O dot products: see docs/speed.md."""
    return vecdot(W, x)[None] if len(x) == 1 and W.size > SMALL and on_host(x) else x @ W.T


def _multiply(x: Array, pieces: list[Piece], y: Array) -> None:
    """y[:, a:b] = x W^T for each piece."""
    for a, b, W in pieces:
        y[:, a:b] = times(x, W)


def _halves(pieces: list[Piece], middle: int) -> tuple[list[Piece], list[Piece]]:
    """The pieces below and above row `middle` of their common W, which cuts one of them in two."""
    first = [(a, min(b, middle), W[: middle - a]) for a, b, W in pieces if a < middle]
    second = [(max(a, middle), b, W[max(middle - a, 0) :]) for a, b, W in pieces if b > middle]
    return first, second


def _joined(maps: Sequence[Map]) -> Map:
    """One map for all: W_1, W_2, ... on top of each other, with A and B multiplied out."""
    xp = get_xp(W=maps[0][0][0][0])
    Ws = [sum((B @ A for A, B in others), start=W) for ((W,), *others), _ in maps]
    if all(bias is None for _, bias in maps):
        return [(_stacked(xp, Ws),)], None
    biases = [xp.zeros(len(W), W.dtype) if bias is None else bias for W, (_, bias) in zip(Ws, maps, strict=True)]
    return [(_stacked(xp, Ws),)], _stacked(xp, biases)


def _stacked(xp: ArrayModule, arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else xp.concatenate(arrays)
