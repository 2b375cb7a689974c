"""Weights in blocks of 256, as GGUF stores them: the K-quants, which files of some 2 to 6 bits a weight consist of.

A block has 256 numbers of one row, in groups of 16 or 32. A group has a step, which is itself an integer s times the
block's step d, a float16; and some have an offset, an integer t times the block's m, another float16:

    Q2_K     w = d s q - m t           q 2 bits, s and t 4 bits, groups of 16     16 + 64 + 2 + 2 bytes
    Q3_K     w = d (s - 32) (q - 4)    q 3 bits, s 6 bits, groups of 16           32 + 64 + 12 + 2 bytes
    Q4_K     w = d s q - m t           q 4 bits, s and t 6 bits, groups of 32     2 + 2 + 12 + 128 bytes
    Q5_K     w = d s q - m t           q 5 bits, s and t 6 bits, groups of 32     2 + 2 + 12 + 32 + 128 bytes
    Q6_K     w = d s (q - 32)          q 6 bits, s a signed byte, groups of 16    128 + 64 + 16 + 2 bytes
    IQ4_XS   w = d (s - 32) LEVELS[q]  q 4 bits, s 6 bits, groups of 32           2 + 2 + 4 + 128 bytes

A file that is called Q4_K_M or Q5_K_M has Q4_K or Q5_K in most of its matrices, and Q6_K in the others.

How the bits of the q's are packed: 32 numbers that follow one another lie at the same bits of 32 bytes. So bytes 0 to
31 of 4 bits hold numbers 0 to 31 in their low halves and 32 to 63 in their high ones; 32 bytes of 2 bits hold 128
numbers, and 32 bytes of single bits all 256. (Q6_K and IQ4_XS differ; see there.)

Each function takes (n, bytes of a block) and gives (n, 256), and rounds to float32 where the package `gguf` does: the
results are the same to the bit.
"""

import numpy

from minilora.interop.gguf_plain_blocks import LEVELS, from_f16

HALVES, QUARTERS, BITS = (0, 4), (0, 2, 4, 6), tuple(range(8))  # by how much a byte is shifted for each part of it


def from_q2_k(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d s q - m t: (n, 84) -> (n, 256)

    A byte of the first 16 has s in its low half and t in its high half.
    """
    s, t = blocks[:, :16] & 15, blocks[:, :16] >> 4  # (n, 16)
    d, m = from_f16(blocks[:, 80:82].copy()), from_f16(blocks[:, 82:].copy())  # (n, 1)
    return _with_offset(parts(blocks[:, 16:80], QUARTERS), d, s, m, t)


def from_q3_k(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d (s - 32) (q - 4): (n, 110) -> (n, 256)

    First come the upper bits of the q's, then their lower two. The 16 numbers s have their lower 4 bits in 8 bytes, s_0
    to s_7 in the low halves, and their upper 2 bits in 4 bytes, s_0 to s_3 in the lowest ones.
    """
    n = len(blocks)
    q = parts(blocks[:, 32:96], QUARTERS) | parts(blocks[:, :32], BITS) << 2  # (n, 256)
    low = numpy.concatenate([blocks[:, 96:104] & 15, blocks[:, 96:104] >> 4], axis=1)  # (n, 16)
    high = numpy.concatenate([blocks[:, 104:108] >> shift & 3 for shift in QUARTERS], axis=1)  # (n, 16)
    d = from_f16(blocks[:, 108:].copy())  # (n, 1)
    step = d * ((low | high << 4).astype(numpy.float32) - 32.0)  # d (s - 32): (n, 16)
    w = q.astype(numpy.float32).reshape(n, 16, 16)
    w -= 4.0
    w *= step[:, :, None]
    return w.reshape(n, 256)


def from_q4_k(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d s q - m t: (n, 144) -> (n, 256)"""
    d, m = from_f16(blocks[:, :2].copy()), from_f16(blocks[:, 2:4].copy())  # (n, 1)
    s, t = steps_and_offsets(blocks[:, 4:16])  # (n, 8)
    return _with_offset(parts(blocks[:, 16:], HALVES), d, s, m, t)


def from_q5_k(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d s q - m t: (n, 176) -> (n, 256)

    The upper bits of the q's come before their lower four.
    """
    d, m = from_f16(blocks[:, :2].copy()), from_f16(blocks[:, 2:4].copy())  # (n, 1)
    s, t = steps_and_offsets(blocks[:, 4:16])  # (n, 8)
    q = parts(blocks[:, 48:], HALVES) | parts(blocks[:, 16:48], BITS) << 4  # (n, 256)
    return _with_offset(q, d, s, m, t)


def from_q6_k(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d s (q - 32): (n, 210) -> (n, 256)

    First come the lower 4 bits of the q's, then their upper 2, the s's, and d. Here 64 bytes of 4 bits hold 128 numbers
    that follow one another.
    """
    q = parts(blocks[:, :128], HALVES, width=64) | parts(blocks[:, 128:192], QUARTERS) << 4  # (n, 256)
    d, s = (
        from_f16(blocks[:, 208:].copy()),
        blocks[:, 192:208].view(numpy.int8).astype(numpy.float32),
    )  # (n, 1), (n, 16)
    w = q.astype(numpy.float32).reshape(len(blocks), 16, 16)
    w -= 32.0
    w *= (d * s)[:, :, None]
    return w.reshape(len(blocks), 256)


def from_iq4_xs(blocks: numpy.ndarray) -> numpy.ndarray:
    """w = d (s - 32) LEVELS[q]: (n, 136) -> (n, 256)

    The 8 numbers s have their upper 2 bits in 2 bytes and their lower 4 in 4 bytes, the lowest bits first. The q's are
    packed as in Q4_0: 16 bytes hold 32 numbers.
    """
    n = len(blocks)
    high = numpy.stack([blocks[:, 2:4] >> shift & 3 for shift in QUARTERS], axis=2).reshape(n, 8)
    low = numpy.stack([blocks[:, 4:8] >> shift & 15 for shift in HALVES], axis=2).reshape(n, 8)
    d = from_f16(blocks[:, :2].copy())  # (n, 1)
    step = d * ((low | high << 4).astype(numpy.float32) - 32.0)  # d (s - 32): (n, 8)
    w = LEVELS[parts(blocks[:, 8:], HALVES, width=16)].reshape(n, 8, 32)
    w *= step[:, :, None]
    return w.reshape(n, 256)


def parts(packed: numpy.ndarray, shifts: tuple[int, ...], width: int = 32) -> numpy.ndarray:
    """Numbers of 8 / len(shifts) bits, in the order in which they were packed.

    Parameters
    ----------
    packed : uint8 ndarray of shape (n, 256 / len(shifts))
    shifts : tuple of int
        HALVES, QUARTERS or BITS.
    width : int
        How many bytes hold len(shifts) times as many numbers that follow one another.

    Returns
    -------
    uint8 ndarray of shape (n, 256)
    """
    mask = (1 << 8 // len(shifts)) - 1
    runs = packed.reshape(len(packed), -1, width)
    return numpy.stack([runs >> shift & mask for shift in shifts], axis=2).reshape(len(packed), 256)


def steps_and_offsets(packed: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """s and t of Q4_K and Q5_K, 8 numbers of 6 bits each: (n, 12) -> (n, 8), (n, 8)

    The first 4 of s are the lower 6 bits of the first 4 bytes, and the first 4 of t those of the next 4. The others
    have their upper 2 bits in the upper 2 of the same bytes, and their lower 4 in the last 4 bytes: s in the low
    halves, t in the high ones.
    """
    s, t, low = packed[:, :4], packed[:, 4:8], packed[:, 8:]  # (n, 4)
    s = numpy.concatenate([s & 63, low & 15 | s >> 6 << 4], axis=1)  # (n, 8)
    t = numpy.concatenate([t & 63, low >> 4 | t >> 6 << 4], axis=1)  # (n, 8)
    return s, t


def _with_offset(
    q: numpy.ndarray, d: numpy.ndarray, s: numpy.ndarray, m: numpy.ndarray, t: numpy.ndarray
) -> numpy.ndarray:
    """w = d s q - m t, group by group: (n, 256), with s and t of shape (n, groups)."""
    n, groups = s.shape
    w = q.astype(numpy.float32).reshape(n, groups, -1)
    w *= (d * s)[:, :, None]
    w -= (m * t)[:, :, None]
    return w.reshape(n, 256)
