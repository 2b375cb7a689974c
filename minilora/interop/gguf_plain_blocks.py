"""Weights in blocks of 32 or in none, as GGUF stores them: the formulas of llama.cpp's plain quantisations.

Numbers are quantised in blocks of 32 of one row. A block has a step d, a float16, and for each number q, an integer:

    Q5_0     w = d (q - 16)     q from 0 to 31                                2 + 4 + 16 bytes
    Q5_1     w = d q + m        q from 0 to 31, m a float16                   2 + 2 + 4 + 16 bytes
    Q4_0     w = d (q - 8)      q from 0 to 15                                2 + 16 bytes
    IQ4_NL   w = d LEVELS[q]    q from 0 to 15, levels that are close at 0    2 + 16 bytes

Two numbers of 4 bits share a byte: byte j has number j in its low half and number j + 16 in its high half. The fifth
bit of number j is bit j of four bytes that stand before these. (Q4_1 and Q8_0, in which weights can be kept, are in
`ops/gguf_blocks.py`.)

F16 and BF16 have no blocks: w is a float16, or the upper half of a float32.

Each function takes (n, bytes of a block) and gives (n, numbers of a block), and rounds to float32 where the package
`gguf` does: the results are the same to the bit.
"""

import numpy

# IQ4_NL's: a Gaussian has many numbers near 0
LEVELS = numpy.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], "float32")


def from_f32(blocks: numpy.ndarray) -> numpy.ndarray:
    """w is stored: (n, 4) -> (n, 1)"""
    return blocks.view("<f4")


def from_f16(blocks: numpy.ndarray) -> numpy.ndarray:
    """w is stored with 11 bits of its fraction: (n, 2) -> (n, 1)"""
    return blocks.view("<f2").astype(numpy.float32)


def from_bf16(blocks: numpy.ndarray) -> numpy.ndarray:
    """The upper half of w's float32 is stored: (n, 2) -> (n, 1)"""
    return (blocks.view("<u2").astype(numpy.uint32) << 16).view(numpy.float32)


def from_q4_0(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d (q - 8): (n, 18) -> (n, 32)"""
    d = from_f16(blocks[:, :2].copy())  # (n, 1)
    w = halves(blocks[:, 2:]).astype(numpy.float32)  # (n, 32)
    w -= 8.0
    w *= d
    return w


def from_q5_0(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d (q - 16): (n, 22) -> (n, 32)"""
    d = from_f16(blocks[:, :2].copy())  # (n, 1)
    w = (halves(blocks[:, 6:]) | fifth_bits(blocks[:, 2:6]) << 4).astype(numpy.float32)  # (n, 32)
    w -= 16.0
    w *= d
    return w


def from_q5_1(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d q + m: (n, 24) -> (n, 32)"""
    d, m = from_f16(blocks[:, :2].copy()), from_f16(blocks[:, 2:4].copy())  # (n, 1)
    w = (halves(blocks[:, 8:]) | fifth_bits(blocks[:, 4:8]) << 4).astype(numpy.float32)  # (n, 32)
    w *= d
    w += m
    return w


def from_iq4_nl(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d LEVELS[q]: (n, 18) -> (n, 32)"""
    d = from_f16(blocks[:, :2].copy())  # (n, 1)
    w = LEVELS[halves(blocks[:, 2:])]  # (n, 32)
    w *= d
    return w


def halves(packed: numpy.ndarray) -> numpy.ndarray:
    """The low halves of a block's bytes, then their high halves: (n, 16) -> (n, 32), uint8."""
    return numpy.concatenate([packed & 15, packed >> 4], axis=1)


def fifth_bits(packed: numpy.ndarray) -> numpy.ndarray:
    """The bits of four bytes, the lowest of each first: (n, 4) -> (n, 32), uint8."""
    return numpy.unpackbits(packed, axis=1, bitorder="little")
