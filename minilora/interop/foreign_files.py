"""Tensors in files from elsewhere: safetensors, which cannot run code."""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from safetensors import SafetensorError, safe_open

from minilora.limits import check_header, check_names, parse_json

DTYPES = ("F64", "F32", "F16", "BF16")  # the types that a weight can be stored in
NAMES = dict(zip(("float64", "float32", "float16", "bfloat16"), DTYPES, strict=True))


class StoredTensor(NamedTuple):
    """Where a tensor is, and what its file's header says of it."""

    file: Path
    name: str
    dtype: str
    shape: tuple


def open_safetensors(path: Path) -> Any:
    """Open a safetensors file and check its header: its size here, and then every offset, by the library."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    check_header(path)
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a safetensors file, or it is damaged: {error}") from None


def tensors_in(path: Path) -> dict[str, StoredTensor]:
    """What a safetensors file's header lists: a dict of name to StoredTensor."""
    with open_safetensors(path) as file:
        names = list(file.keys())
        check_names(names, path)
        slices = {name: file.get_slice(name) for name in names}
        return {name: StoredTensor(path, name, s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}


def read_about(path: Path) -> dict[str, Any]:
    """What minilora wrote about the arrays of one of its own files, from its header; empty for anyone else's file.

    Nothing is compared with the checksum, as `load_arrays` does.
    """
    with open_safetensors(path) as file:
        about = parse_json((file.metadata() or {}).get("minilora", "{}"), path)
    return about if isinstance(about, dict) else {}


def check_dtype(tensor: StoredTensor) -> None:
    """Raise a ValueError unless a StoredTensor holds floating-point numbers."""
    if tensor.dtype not in DTYPES:
        raise ValueError(f"{tensor.file}: {tensor.name} is {tensor.dtype}; it must be one of {', '.join(DTYPES)}")


def read_tensor(tensor: StoredTensor) -> numpy.ndarray:
    """The values of a StoredTensor: float64, float32 or float16 as in the file; bfloat16 becomes float32."""
    if tensor.dtype == "BF16":
        return _read_bfloat16(tensor)
    with open_safetensors(tensor.file) as file:
        return file.get_tensor(tensor.name)


def rounded(values: numpy.ndarray, dtype: str) -> numpy.ndarray:
    """Floating-point values, rounded to one of DTYPES, as float64."""
    if dtype == "BF16":
        return _from_bfloat16(to_bfloat16(values)).astype("float64")
    with numpy.errstate(over="ignore"):
        return values.astype({"F64": "float64", "F32": "float32", "F16": "float16"}[dtype]).astype("float64")


def to_bfloat16(values: numpy.ndarray) -> numpy.ndarray:
    """The nearest bfloat16s, as the uint16s that a file holds: upper halves of float32s, ties to even."""
    bits = values.astype("float32").view("uint32")
    return (bits + 0x7FFF + ((bits >> 16) & 1) >> 16).astype("uint16")


def _from_bfloat16(upper: numpy.ndarray) -> numpy.ndarray:
    return (upper.astype("uint32") << 16).view("float32")


def _read_bfloat16(tensor: StoredTensor) -> numpy.ndarray:
    """The values of a bfloat16 tensor. NumPy lacks this type, whose numbers are the upper halves of float32s."""
    with open(tensor.file, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        start, stop = json.loads(file.read(length))[tensor.name]["data_offsets"]
        file.seek(8 + length + start)
        upper = numpy.frombuffer(file.read(stop - start), dtype="<u2")
    return _from_bfloat16(upper).reshape(tensor.shape)


def write_tensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str, values: Iterable[numpy.ndarray]
) -> None:
    """Write a safetensors file, one tensor after another, so that only one of them is held in memory.

    (NumPy lacks bfloat16, and the library's function that could write it takes other arguments in each version.)

    Parameters
    ----------
    path : Path
    shapes : dict of str to tuple of int
        By the tensors' names, in the order of `values`.
    dtype : {"float64", "float32", "float16", "bfloat16"}
        Of the values in the file.
    values : iterable of ndarray
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # the format is what transformers asks for
    stop, size = 0, 2 if dtype == "bfloat16" else numpy.dtype(dtype).itemsize
    for name, shape in shapes.items():
        start, stop = stop, stop + size * math.prod(shape)
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [start, stop]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8 bytes
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in values:
            stored = to_bfloat16(array) if dtype == "bfloat16" else array.astype(dtype, copy=False)
            file.write(numpy.ascontiguousarray(stored.astype(stored.dtype.newbyteorder("<"), copy=False)).data)
