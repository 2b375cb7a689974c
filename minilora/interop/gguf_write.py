"""Writing GGUF files, through the package `gguf`: a tensor at a time, and in place only once all is written."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from minilora.arrays.finite import check_finite
from minilora.files import write_together
from minilora.interop.gguf_blocks import BLOCKS, CHUNK, F16, F32, Q8_0
from minilora.ops.fast import quantize_q8_0

DTYPES = {"f32": F32, "f16": F16, "q8_0": Q8_0}  # of the weights in a file


class Tensor(NamedTuple):
    """A tensor to be written."""

    name: str
    shape: tuple[int, ...]  # (O, I)
    kind: int  # a value of DTYPES
    values: Callable[[], numpy.ndarray]  # called when its turn comes

    def n_bytes(self) -> int:
        block = BLOCKS[self.kind]
        n = 1
        for length in self.shape:
            n *= length
        return n // block.numbers * block.bytes


def kind_for(shape: tuple[int, ...], dtype: str) -> int:
    """How a tensor of this shape is stored, if matrices are stored as `dtype`, a key of DTYPES.

    As in llama.cpp: norms and biases as float32; a matrix whose rows are no whole number of blocks as float16.
    """
    if len(shape) == 1:
        return F32
    kind = DTYPES[dtype]
    return F16 if shape[-1] % BLOCKS[kind].numbers else kind


def encode(values: numpy.ndarray, kind: int) -> numpy.ndarray:
    """The bytes of a tensor: any shape -> (n,), uint8."""
    values = numpy.ascontiguousarray(values, "float32")
    if kind == F32:
        return values.reshape(-1).view(numpy.uint8)
    if kind == F16:
        with numpy.errstate(over="ignore"):  # what is too large is refused by write_gguf
            return values.astype("<f2").reshape(-1).view(numpy.uint8)
    rows, n = values.reshape(-1, BLOCKS[kind].numbers), CHUNK // BLOCKS[kind].numbers
    return numpy.concatenate([quantize_q8_0(rows[first : first + n]).reshape(-1) for first in range(0, len(rows), n)])


def write_gguf(
    path: str | Path, architecture: str, fields: Iterable[tuple[str, Any, int, int | None]], tensors: list[Tensor]
) -> None:
    """Write a GGUF file.

    Parameters
    ----------
    path : str or Path
    architecture : str
        general.architecture.
    fields : iterable of (str, object, int, int or None)
        The metadata: names, values, their types, and the types of their items.
    tensors : list of Tensor

    Raises
    ------
    ValueError
        If a value is infinite or NaN, or becomes so in float16. No file is left then.
    RuntimeError
        If the package `gguf` is not installed.
    """
    gguf = require_gguf(path)

    def write(temporary: Path) -> None:
        writer = gguf.GGUFWriter(temporary, architecture)
        with contextlib.closing(writer):
            for name, value, kind, items in fields:
                of = None if items is None else gguf.GGUFValueType(items)
                writer.add_key_value(name, value, gguf.GGUFValueType(kind), of)
            for t in tensors:
                kind = gguf.GGMLQuantizationType(t.kind)
                writer.add_tensor_info(t.name, t.shape, numpy.dtype("float32"), t.n_bytes(), raw_dtype=kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for t, values in checked(tensors, path):
                writer.write_tensor_data(encode(values, t.kind))

    write_together({Path(path): write})


def checked(tensors: list[Tensor], path: str | Path) -> Iterator[tuple[Tensor, numpy.ndarray]]:
    """Yield each tensor with its values, or raise ValueError if the file could not hold one of them."""
    largest = float(numpy.finfo("float16").max)
    for t in tensors:
        values = t.values()
        check_finite({t.name: values}, path)
        steps = 127 if t.kind == Q8_0 else 1  # a block's d is its largest number, divided by 127
        if t.kind != F32 and values.size and (most := float(numpy.abs(values).max())) > largest * steps:
            name = BLOCKS[t.kind].name
            raise ValueError(f"{path} was not written: {t.name} has a weight of {most:g}, too large for {name}")
        yield t, values


def require_gguf(path: object) -> Any:
    """The package `gguf`; RuntimeError if it is not installed."""
    try:
        import gguf
    except ImportError:
        raise RuntimeError(
            f"{path} is written by the package gguf, which is not installed: pip install 'minilora[hf]'"
        ) from None
    return gguf
