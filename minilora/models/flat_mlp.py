"""An MLP of rows, of which two threads compute half each: the numbers of its hidden layer do not need each other.

    y = W_down f(W_up x) + bias = W_down[:, a] f(W_up[a] x) + W_down[:, b] f(W_up[b] x) + bias       a, b: halves of F

The threads meet once for two products. (Megatron-LM shares an MLP among GPUs in this way: Shoeybi et al., 2019,
section 3.)
"""

from collections.abc import Callable, Sequence

from minilora.arrays.backend import Array, on_host
from minilora.arrays.second_thread import second_thread
from minilora.models.products import LARGE, Map, Products


class FlatMLP:
    """y = down(f(ups(x))): (N, C) -> (N, F) -> (N, C).

    Parameters
    ----------
    ups : sequence of Map, each C -> F
        One, or gate and up.
    activation : callable
        f, which takes the results of `ups` side by side.
    down : Map, F -> C
    """

    def __init__(self, ups: Sequence[Map], activation: Callable[[Array], Array], down: Map) -> None:
        self.activation = activation
        self.whole = Products(ups), Products([down])
        F, C = ups[0][0][0][0].shape
        self.halves = [
            (Products([_outputs(up, part) for up in ups]), Products([_inputs(down, part)]))
            for part in (slice(0, F // 2), slice(F // 2, F))
        ]
        self.alone = LARGE // ((len(ups) + 1) * F * C)  # rows that one thread computes

    def __call__(self, x: Array) -> Array:
        """(N, C) -> (N, C)"""
        helper = second_thread() if len(x) > self.alone and on_host(x) else None
        if helper is None:
            return self._through(self.whole, x)
        first, second = helper.both(*(lambda half=half: self._through(half, x) for half in self.halves))
        first += second
        return first

    def _through(self, maps: tuple[Products, Products], x: Array) -> Array:
        up, down = maps
        return down(self.activation(up(x)))


def _outputs(map_: Map, part: slice) -> Map:
    """Some of a map's results: rows of W, of B and of the bias."""
    ((W,), *thin), bias = map_
    return [(W[part],), *((A, B[part]) for A, B in thin)], None if bias is None else bias[part]


def _inputs(map_: Map, part: slice) -> Map:
    """What some of its inputs give: columns of W and of A; the bias comes with the first of them."""
    ((W,), *thin), bias = map_
    return [(W[:, part],), *((A[:, part], B) for A, B in thin)], None if part.start else bias
