"""Double quantisation (Dettmers et al., 2023, section 3): the scales of the blocks are themselves quantised, to 8 bits.

A float32 absmax for every 64 numbers costs half a bit a number. Quantised once more, in blocks of 256 scales, it costs
8 / 64 + 32 / (64 256) = 0.127 bits:

    absmax = mean + absmax2 level[q],   q from 0 to 255,   absmax2 = the largest |absmax - mean| of a block of 256

Scales are positive, and close to each other. So their mean over the whole matrix is taken away first, and what is left
is small and of both signs.

The 256 levels are those of bitsandbytes' dynamic data type (Dettmers, 2015, "8-Bit Approximations for Parallelism in
Deep Learning"). With e from 0 to 6, there are 2^e levels between 10^(e - 7) and 10^(e - 6), the middles of equal parts;
the same below zero; and 0, and 1:

    level = +-10^(e - 6) (0.1 + 0.9 (i + 1/2) / 2^e),   i from 0 to 2^e - 1       2 (1 + 2 + ... + 64) + 2 = 256

So large numbers get fine steps, and small ones are off by a share of themselves and not of the largest.
"""

import functools
from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.ops.blocks import from_blocks, in_blocks, inverse
from minilora.ops.nf4 import nearest_levels

SCALES = 256  # that share an absmax2


class QuantizedScales(NamedTuple):
    codes: Array  # (n,), uint8
    absmax2: Array  # (n / 256,), rounded up
    mean: Array  # ()


@functools.cache
def dynamic_levels() -> tuple[float, ...]:
    """The 256 levels in increasing order, from -0.993 to 1."""
    above = [10.0 ** (e - 6) * (0.1 + 0.9 * (i + 0.5) / 2**e) for e in range(7) for i in range(2**e)]
    return tuple(sorted([*above, *(-level for level in above), 0.0, 1.0]))


def quantize_scales(absmax: Array) -> QuantizedScales:
    """8 bits for each scale, (n,) float32.

    Parameters
    ----------
    absmax : float32 ndarray of shape (n,)
        n at least 1.
    """
    levels = get_xp(absmax=absmax).asarray(dynamic_levels(), dtype="float32")
    mean = absmax.mean()
    blocks = in_blocks(absmax - mean, SCALES)  # (n / 256, 256)
    absmax2 = abs(blocks).max(axis=1)  # (n / 256,)
    q = nearest_levels(blocks * inverse(absmax2)[:, None], levels)  # (n / 256, 256)
    return QuantizedScales(from_blocks(q, absmax.shape), absmax2, mean)


def dequantize_scales(scales: QuantizedScales) -> Array:
    """absmax = mean + absmax2 level[q]: (n,) float32"""
    codes, absmax2, mean = scales
    levels = get_xp(codes=codes).asarray(dynamic_levels(), dtype="float32")
    blocks = levels[in_blocks(codes, SCALES)] * absmax2[:, None]  # (n / 256, 256)
    return from_blocks(blocks, codes.shape) + mean
