"""Q4_1 and Q8_0: blocks of 32 numbers of a row, in equal steps, as a GGUF file holds them.

    Q8_0     w = d q         q from -128 to 127              2 + 32 bytes           8.5 bits a number
    Q4_1     w = d q + m     q from 0 to 15                  2 + 2 + 16 bytes       5 bits a number

The step d and the offset m are float16. Two numbers of 4 bits share a byte: byte j of the 16 has number j in its low
half and number j + 16 in its high half.

How a block gets its numbers. Q4_1 spans the block from its smallest number to its largest, m = min w and
d = (max w - m) / 15; Q8_0 is symmetric, d = max |w| / 127. Steps of equal size are off by at most d / 2 wherever the
numbers are, which wastes levels on a Gaussian's ends: see `ops/nf4.py`.

Both round as llama.cpp and the package `gguf` do, to the bit: q is computed with d in float32, and d is rounded to
float16 afterwards.
"""

from minilora.arrays.backend import Array, get_xp
from minilora.ops.blocks import inverse


def dequantize_q4_1(blocks: Array) -> Array:
    """w = d q + m: (n, 20) uint8 -> (n, 32) float32"""
    d, m = halves_of(blocks[:, :2]), halves_of(blocks[:, 2:4])  # (n, 1)
    q = get_xp(blocks=blocks).concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)  # (n, 32)
    return q * d + m


def dequantize_q8_0(blocks: Array) -> Array:
    """w = d q: (n, 34) uint8 -> (n, 32) float32"""
    return blocks[:, 2:].view("int8") * halves_of(blocks[:, :2])


def quantize_q4_1(w: Array) -> Array:
    """q = round((w - m) / d), half up: (n, 32) float32 -> (n, 20) uint8"""
    xp = get_xp(w=w)
    m = w.min(axis=1, keepdims=True)  # (n, 1)
    d = (w.max(axis=1, keepdims=True) - m) / 15  # (n, 1)
    q = xp.clip((w - m) * inverse(d) + 0.5, 0, 15).astype("uint8")  # (n, 32)
    return xp.concatenate([bytes_of(d), bytes_of(m), q[:, :16] | q[:, 16:] << 4], axis=1)


def quantize_q8_0(w: Array) -> Array:
    """q = round(w / d), half away from zero: (n, 32) float32 -> (n, 34) uint8"""
    xp = get_xp(w=w)
    d = abs(w).max(axis=1, keepdims=True) / 127  # (n, 1)
    q = w * inverse(d)  # (n, 32)
    q = xp.copysign(xp.floor(2 * abs(q) - xp.floor(abs(q))), q)
    return xp.concatenate([bytes_of(d), q.astype("int8").view("uint8")], axis=1)


def halves_of(stored: Array) -> Array:
    """Float16 numbers that lie in pairs of bytes: (n, 2) uint8 -> (n, 1) float32"""
    return stored.copy().view("<f2").astype("float32")


def bytes_of(values: Array) -> Array:
    """The inverse of `halves_of`, which rounds: (n, 1) float32 -> (n, 2) uint8"""
    return values.astype("<f2").view("uint8")
