"""QuantizedParameter: a frozen weight that is kept in a few bits, and computed wherever it is used (QLoRA, 2023).

    forward     W = dequantize(codes),  y = x W^T + ...     W is dropped
    backward    W = dequantize(codes),  dx = dy W + ...     the same W, to the bit

So one matrix at a time exists in float32, forward and backward. The gradients of A and B, and dx, are those of a model
whose weight is W, to the bit: the codes are constants, and nothing is differentiated through them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from minilora.arrays.backend import Array
from minilora.ops.blocks import from_blocks
from minilora.ops.fast import (
    QuantizedScales,
    dequantize_nf4,
    dequantize_q4_1,
    dequantize_q8_0,
    dequantize_scales,
    quantize_nf4,
    quantize_q4_1,
    quantize_q8_0,
    quantize_scales,
)
from minilora.parameter import Parameter

Cache = TypeVar("Cache", bound=Any)  # a NamedTuple with a field W


@dataclass(frozen=True)
class Packed:
    """A matrix in a few bits.

    Parameters
    ----------
    kind : str
        "nf4", "q4_1", "q8_0", or another type of a GGUF file.
    arrays : tuple of ndarray
        All that is kept.
    shape : tuple of int
    unpack : callable
        ``unpack(*arrays, shape)``: its values, float32.
    """

    kind: str
    arrays: tuple[Array, ...]
    shape: tuple[int, ...]
    unpack: Callable[..., Array]

    def values(self) -> Array:
        """The numbers that the codes stand for, a new float32 array."""
        return self.unpack(*self.arrays, self.shape)


class QuantizedParameter(Parameter):
    """A frozen weight whose `data` is made from its codes each time that it is asked for.

    Parameters
    ----------
    packed : Packed
    dtype : dtype
        Of `data`: the model's.
    name : str
    original_id : str, optional
        Identifies what was quantised, if that is not what `data` is; see `adapter_file.py`.
    """

    __slots__ = ("_dtype", "original_id", "packed")

    def __init__(self, packed: Packed, *, dtype: Any, name: str = "", original_id: str | None = None) -> None:
        self.packed = packed
        self.grad = None
        self.name = name
        self.original_id = original_id
        self._dtype = dtype

    @property
    def data(self) -> Array:
        """A new array at each call: whoever needs it twice keeps it."""
        return self.packed.values().astype(self._dtype, copy=False)

    @data.setter
    def data(self, values: Array) -> None:
        raise ValueError(f"{self._who()} was given new values; it must keep its own, or be replaced by a Parameter")

    @property
    def trainable(self) -> bool:
        """False."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value:
            raise ValueError(f"{self._who()} was made trainable; it must stay frozen: train an adapter beside it")

    def _who(self) -> str:
        return f"{self.name or 'a parameter'}, which is kept in {self.packed.kind},"

    @property
    def held(self) -> list[Array]:
        return list(self.packed.arrays)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.packed.shape

    @property
    def dtype(self) -> Any:
        return self._dtype

    def __deepcopy__(self, memo: dict[int, Any]) -> "QuantizedParameter":
        """A copy has the same codes, which are constants."""
        return QuantizedParameter(self.packed, dtype=self._dtype, name=self.name, original_id=self.original_id)

    def __repr__(self) -> str:
        return f"QuantizedParameter({self.name or 'unnamed'}: {self.shape} in {self.packed.kind})"


def without_values(cache: Cache, W: Parameter) -> Cache:
    """A cache that keeps the parameter W in place of its array, if that can be computed again."""
    return cache._replace(W=W) if isinstance(W, QuantizedParameter) else cache


def with_values(cache: Cache) -> Cache:
    """The inverse of `without_values`."""
    return cache._replace(W=cache.W.data) if isinstance(cache.W, QuantizedParameter) else cache


def pack_nf4(W: Array, *, double: bool = True) -> Packed:
    """A float32 matrix in NF4, 4.127 bits a number; or 4.5 if its scales are not quantised (`double`)."""
    codes, absmax = quantize_nf4(W)
    if not double:
        return Packed("nf4", (codes, absmax), W.shape, dequantize_nf4)
    return Packed("nf4", (codes, *quantize_scales(absmax)), W.shape, _unpack_nf4)


def pack_q4_1(W: Array) -> Packed:
    """A float32 matrix in Q4_1, 5 bits a number; I must be a multiple of 32."""
    return Packed("q4_1", (quantize_q4_1(W.reshape(-1, 32)),), W.shape, unpack_q4_1)


def pack_q8_0(W: Array) -> Packed:
    """A float32 matrix in Q8_0, 8.5 bits a number; I must be a multiple of 32."""
    return Packed("q8_0", (quantize_q8_0(W.reshape(-1, 32)),), W.shape, unpack_q8_0)


def _unpack_nf4(codes: Array, scale_codes: Array, absmax2: Array, mean: Array, shape: tuple[int, ...]) -> Array:
    return dequantize_nf4(codes, dequantize_scales(QuantizedScales(scale_codes, absmax2, mean)), shape)


def unpack_q4_1(blocks: Array, shape: tuple[int, ...]) -> Array:
    """The values of a matrix in Q4_1: (n, 20) -> `shape`"""
    return from_blocks(dequantize_q4_1(blocks), shape)


def unpack_q8_0(blocks: Array, shape: tuple[int, ...]) -> Array:
    """The values of a matrix in Q8_0: (n, 34) -> `shape`"""
    return from_blocks(dequantize_q8_0(blocks), shape)
