"""Weights of 4, 6 and 8 bits, as GGUF stores them, and back: every formula of llama.cpp's plain quantisations,
and Q6_K.

Numbers are quantised in blocks of 32 of one row. A block has a step d, a float16, and for each number q, an integer:

    Q8_0    w = d q            q from -128 to 127                      2 + 32 bytes
    Q4_0    w = d (q - 8)      q from 0 to 15                          2 + 16 bytes
    Q4_1    w = d q + m        q from 0 to 15, m a float16             2 + 2 + 16 bytes

Two numbers of 4 bits share a byte: byte j has number j in its low half and number j + 16 in its high half.
Q6_K has blocks of 256, and in each a step for 16 numbers, d s: it is what llama-quantize gives the token embedding
and the head in files of 4 bits.

    Q6_K    w = d s (q - 32)   q from 0 to 63, s from -128 to 127      128 + 64 + 16 + 2 bytes

F16 and BF16 have no blocks: w is a float16, or the upper half of a float32.

Each function takes (n, bytes of a block) and gives (n, numbers of a block), and rounds to float32 where the package
`gguf` does: the results are the same to the bit.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy

CHUNK = 2**20  # numbers that are dequantised at a time, so that what lies between bytes and numbers stays small


def from_f32(blocks: numpy.ndarray) -> numpy.ndarray:
    """w is stored: (n, 4) -> (n, 1)"""
    return blocks.view("<f4")


def from_f16(blocks: numpy.ndarray) -> numpy.ndarray:
    """w is stored with 11 bits of its fraction: (n, 2) -> (n, 1)"""
    return blocks.view("<f2").astype(numpy.float32)


def from_bf16(blocks: numpy.ndarray) -> numpy.ndarray:
    """The upper half of w's float32 is stored: (n, 2) -> (n, 1)"""
    return (blocks.view("<u2").astype(numpy.uint32) << 16).view(numpy.float32)


def from_q8_0(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d q: (n, 34) -> (n, 32)"""
    d = from_f16(blocks[:, :2].copy())  # (n, 1)
    w = blocks[:, 2:].view(numpy.int8).astype(numpy.float32)  # (n, 32)
    w *= d
    return w


def from_q4_0(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d (q - 8): (n, 18) -> (n, 32)"""
    d = from_f16(blocks[:, :2].copy())  # (n, 1)
    w = halves(blocks[:, 2:])  # (n, 32)
    w -= 8.0
    w *= d
    return w


def from_q4_1(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d q + m: (n, 20) -> (n, 32)"""
    d, m = from_f16(blocks[:, :2].copy()), from_f16(blocks[:, 2:4].copy())  # (n, 1)
    w = halves(blocks[:, 4:])  # (n, 32)
    w *= d
    w += m
    return w


def from_q6_k(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d s (q - 32): (n, 210) -> (n, 256)

    First come the lower 4 bits of the q's, then their upper 2, the s's, and d. Half a block, 128 numbers, has 64 bytes
    of lower bits: the low halves are numbers 0 to 63, the high ones 64 to 127. It has 32 bytes of upper bits: bits 0
    and 1 are of numbers 0 to 31, bits 2 and 3 of 32 to 63, and so on.
    """
    n = len(blocks)
    low, high = blocks[:, :128].reshape(n, 2, 64), blocks[:, 128:192].reshape(n, 2, 32)
    s = blocks[:, 192:208].view(numpy.int8).astype(numpy.float32)  # (n, 16)
    step = from_f16(blocks[:, 208:].copy()) * s  # d s: (n, 16)
    low = numpy.concatenate([low & 15, low >> 4], axis=2)  # (n, 2, 128)
    high = numpy.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=2)  # (n, 2, 128)
    w = (low | high << 4).astype(numpy.float32).reshape(n, 16, 16)
    w -= 32.0
    w *= step[:, :, None]
    return w.reshape(n, 256)


def halves(packed: numpy.ndarray) -> numpy.ndarray:
    """The low halves of a block's bytes, then their high halves: (n, 16) -> (n, 32), float32."""
    return numpy.concatenate([packed & 15, packed >> 4], axis=1).astype(numpy.float32)


def to_q8_0(w: numpy.ndarray) -> numpy.ndarray:
    """q = round(w / d) with the smallest d for which every |q| is at most 127: (n, 32) float32 -> (n, 34).

    d = max |w| / 127. q is computed with d in float32 and rounded half away from zero, and d is stored as a float16
    afterwards, as llama.cpp does; a block of zeros has d = 0.
    """
    d = numpy.abs(w).max(axis=1, keepdims=True) / numpy.float32(127)  # (n, 1)
    with numpy.errstate(divide="ignore"):
        q = w * numpy.where(d == 0, numpy.float32(0), 1 / d)  # (n, 32)
    q = numpy.copysign(numpy.floor(2 * numpy.abs(q) - numpy.floor(numpy.abs(q))), q)  # half away from zero
    return numpy.concatenate([d.astype("<f2").view(numpy.uint8), q.astype(numpy.int8).view(numpy.uint8)], axis=1)


class Block(NamedTuple):
    name: str
    numbers: int  # in a block
    bytes: int
    dequantize: Callable[[numpy.ndarray], numpy.ndarray]


F32, F16, Q8_0 = 0, 1, 8
BLOCKS = {  # by GGUF's number of the type
    F32: Block("F32", 1, 4, from_f32),
    F16: Block("F16", 1, 2, from_f16),
    30: Block("BF16", 1, 2, from_bf16),
    2: Block("Q4_0", 32, 18, from_q4_0),
    3: Block("Q4_1", 32, 20, from_q4_1),
    14: Block("Q6_K", 256, 210, from_q6_k),
    Q8_0: Block("Q8_0", 32, 34, from_q8_0),
}
OTHERS = {  # what llama.cpp can read and minilora cannot, for the message
    6: "Q5_0",
    7: "Q5_1",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    15: "Q8_K",
    20: "IQ4_NL",
    23: "IQ4_XS",
}


def type_name(kind: int) -> str:
    """The name of a tensor's type."""
    return BLOCKS[kind].name if kind in BLOCKS else OTHERS.get(kind, f"number {kind}")


def dequantize(data: numpy.ndarray, kind: int, shape: tuple[int, ...]) -> numpy.ndarray:
    """The values of a tensor.

    Parameters
    ----------
    data : uint8 ndarray
        Its bytes.
    kind : int
        A key of BLOCKS.
    shape : tuple of int

    Returns
    -------
    w : float32 ndarray
    """
    block = BLOCKS[kind]
    blocks, w = data.reshape(-1, block.bytes), numpy.empty((prod(shape) // block.numbers, block.numbers), "float32")
    rows = CHUNK // block.numbers
    for first in range(0, len(blocks), rows):
        with numpy.errstate(all="ignore"):  # a damaged file's steps may be infinite, which its reader finds
            w[first : first + rows] = block.dequantize(blocks[first : first + rows])
    return w.reshape(shape)
