"""What a GGUF file says of itself: its metadata, and what and where each tensor is.

A GGUF file (llama.cpp's format) is "GGUF", a version, two counts, the metadata (a name, a type, a value), a line for
each tensor (its name, shape, type and place), and then the tensors, each at a multiple of the alignment. Shapes are
stored in reverse: the axis that lies together in memory comes first.

The package `gguf` reads the same, and the tests compare the two. It is not used for reading because it makes several
arrays for every token of the vocabulary (SmolLM2's 98 MB take seconds and 160 MB more), and because it reads past the
end of a file that is cut: an array that claims 2^60 numbers is read forever.
"""

import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from minilora.arrays.finite import check_finite
from minilora.interop.gguf_blocks import BLOCKS, dequantize, type_name
from minilora.limits import MOST_TENSORS, check_names, one_line_errors, shown

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_FIELDS = 10_000
MOST_STRINGS = 1_000_000  # in all arrays together; Gemma 3 has 780,000 tokens and merges
LONGEST_STRING = 4 * 2**20  # bytes, of one value; a chat template has some 5,000
MOST_AXES = 4

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # types of values
LENGTH = struct.Struct("<Q")  # of a text
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class GGUFTensor(NamedTuple):
    """A tensor of the file. `data` is a view of the file: nothing is read until it is used."""

    name: str
    kind: int  # a key of gguf_blocks.BLOCKS, if it is one that minilora reads
    shape: tuple[int, ...]  # as here, (O, I)
    data: numpy.ndarray | None  # its bytes, uint8; None if its kind is unknown
    file: Path

    def check_kind(self) -> None:
        """Raise ValueError unless minilora can read tensors of this type."""
        if self.kind not in BLOCKS:
            names = ", ".join(type_name(kind) for kind in BLOCKS)
            found = f"tensor {self.name} has the type {type_name(self.kind)}"
            raise ValueError(f"{self.file}: {found}; it must be one of {names}")

    def read(self) -> numpy.ndarray:
        """Its values, float32; ValueError if one is infinite or NaN."""
        self.check_kind()
        values = dequantize(self.data, self.kind, self.shape)  # type: ignore[arg-type]
        check_finite({self.name: values}, self.file)
        return values


class GGUFFile:
    """An opened GGUF file.

    Parameters
    ----------
    path : str or Path

    Attributes
    ----------
    fields : dict of str to object
        The metadata: int, float, bool, str, a list of str, or an ndarray of numbers.
    types : dict of str to tuple of int
        The type of each field, and of the items if it is an array.
    tensors : dict of str to GGUFTensor

    Raises
    ------
    ValueError
        If it is not such a file, or it is cut, damaged or unreasonable. Reading stops at the first wrong number.
    """

    @one_line_errors()
    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ValueError(f"there is no file {self.path}")
        with open(self.path, "rb") as file:
            if file.read(4) != MAGIC:
                raise ValueError(f"{self.path} is not a GGUF file: it does not begin with {MAGIC.decode()}")
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at, self._strings = len(MAGIC), 0
        self.fields: dict[str, Any] = {}
        self.types: dict[str, tuple[int, int | None]] = {}
        self.tensors: dict[str, GGUFTensor] = {}
        try:
            self._read_header()
        except struct.error:
            raise ValueError(f"{self.path} is cut: it ends in the middle of its header") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path} is cut or damaged at byte {self._at:,}: {error}") from None

    @one_line_errors()
    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """A field of the metadata, which must be of a Python type; a default of None: it must be there.

        Raises
        ------
        ValueError
            If it is missing, or of another type; an int is accepted where a float is asked for.
        """
        value = self.fields.get(name, default)
        if value is None:
            raise ValueError(f"{self.path} lacks the field {name} in its metadata")
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits:
            raise ValueError(f"{self.path}: {name} was {shown(value)}; it must be of type {kind.__name__}")
        return kind(value) if kind is float else value

    def _read_header(self) -> None:
        version = self._number("I")
        if version not in VERSIONS:
            big = " (a file for big-endian machines?)" if version & 0xFFFF == 0 else ""
            raise ValueError(f"{self.path} has GGUF version {version}{big}; it must be 2 or 3")
        n_tensors, n_fields = self._number("Q"), self._number("Q")
        if n_tensors > MOST_TENSORS or n_fields > MOST_FIELDS:
            counts = f"{n_tensors:,} tensors and {n_fields:,} fields"
            raise ValueError(f"{self.path} claims {counts}; it must have at most {MOST_TENSORS:,} and {MOST_FIELDS:,}")
        for _ in range(n_fields):
            name, kind = self._string(), self._number("I")
            if name in self.fields:
                raise ValueError(f"{self.path} has the field {shown(name)} twice")
            items = self._number("I") if kind == ARRAY else None
            self.fields[name], self.types[name] = self._value(name, kind, items), (kind, items)
        headers = [self._tensor_header() for _ in range(n_tensors)]
        check_names([name for name, *_ in headers], self.path)
        alignment = self.get("general.alignment", int, 32)
        if not 1 <= alignment <= 2**20:
            raise ValueError(f"{self.path}: general.alignment was {alignment}; it must be from 1 to 2^20")
        start = -(-self._at // alignment) * alignment
        for name, shape, kind, offset in headers:
            if name in self.tensors:
                raise ValueError(f"{self.path} has the tensor {shown(name)} twice")
            self.tensors[name] = GGUFTensor(
                name, kind, shape, self._data_of(name, shape, kind, start + offset), self.path
            )

    def _number(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self._bytes, self._at)
        self._at += struct.calcsize(f"<{code}")
        return value

    def _string(self) -> str:
        (text,) = self._string_list(1)
        return text

    def _string_list(self, n: int) -> list[str]:
        """The next n texts. One loop and no call for each: a vocabulary with its merges has up to a million."""
        content, n_bytes, texts = self._bytes, len(self._bytes), []
        for _ in range(n):
            (length,) = LENGTH.unpack_from(content, self._at)
            start = self._at + LENGTH.size
            if length > LONGEST_STRING or start + length > n_bytes:
                raise ValueError(f"{self.path} is cut or damaged at byte {start:,}: a text of {length:,} bytes")
            self._at = start + length
            texts.append(content[start : self._at].decode())
        return texts

    def _value(self, name: str, kind: int, items: int | None) -> Any:
        if kind == STRING:
            return self._string()
        if kind in NUMBERS:
            return self._number(NUMBERS[kind])
        if kind != ARRAY or (items != STRING and items not in NUMBERS):
            what = f"an array of type {items}" if kind == ARRAY else f"of type {kind}"
            raise ValueError(f"{self.path}: {shown(name)} is {what}; it must be of texts or numbers")
        n = self._number("Q")
        if items == STRING:
            self._strings += n
            if self._strings > MOST_STRINGS:
                raise ValueError(f"{self.path} claims {self._strings:,} texts; it must have at most {MOST_STRINGS:,}")
            return self._string_list(n)
        dtype = numpy.dtype(f"<{NUMBERS[items]}")
        if self._at + n * dtype.itemsize > len(self._bytes):
            raise ValueError(f"{self.path} is cut or damaged: {shown(name)} claims {n:,} numbers")
        self._at += n * dtype.itemsize
        return numpy.frombuffer(self._bytes, dtype, n, self._at - n * dtype.itemsize)

    def _tensor_header(self) -> tuple[str, tuple[int, ...], int, int]:
        """A tensor's name, shape, type, and place after the header."""
        name, n_axes = self._string(), self._number("I")
        if not 1 <= n_axes <= MOST_AXES:
            raise ValueError(f"{self.path}: tensor {shown(name)} has {n_axes} axes; it must have 1 to {MOST_AXES}")
        shape = tuple(self._number("Q") for _ in range(n_axes))[::-1]
        return name, shape, self._number("I"), self._number("Q")

    def _data_of(self, name: str, shape: tuple[int, ...], kind: int, start: int) -> numpy.ndarray | None:
        if kind not in BLOCKS:
            return None
        numbers, size = BLOCKS[kind].numbers, BLOCKS[kind].bytes
        n = 1
        for length in shape:
            n *= length
        if shape[-1] % numbers:
            rows = f"rows of {shape[-1]} numbers of {type_name(kind)}"
            raise ValueError(f"{self.path}: tensor {name} has {rows}; it must be a multiple of {numbers}")
        n_bytes = n // numbers * size
        if start + n_bytes > len(self._bytes):
            raise ValueError(f"{self.path} is cut: tensor {name} ends at byte {start + n_bytes:,}")
        return numpy.frombuffer(self._bytes, numpy.uint8, n_bytes, start)
