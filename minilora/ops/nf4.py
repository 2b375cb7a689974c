"""NF4, the 4-bit NormalFloat of QLoRA (Dettmers et al., 2023, section 3 and appendix E): 16 levels for a Gaussian.

    w_i = absmax level[q_i],   q_i from 0 to 15,   absmax = the largest |w_i| of a block of 64 numbers

Where the levels come from. A code of 4 bits says most where all 16 of its values are equally likely, so that each
level should stand for the same share of the weights. Trained weights are close to a Gaussian of mean 0, and with Q its
inverse distribution function, equal shares of probability are equal steps of p in Q(p). Two things are added:

- 0 must be a level: there are many weights near 0, and padding must stay 0. Equal steps over both sides have an even
  number of levels and none at 0. So each side is cut by itself, and the two share 0: 8 levels above it, 7 below it.
- Q(0) and Q(1) are infinite. The outermost p is 1 - (1/32 + 1/30) / 2 = 0.9677083: half a step of 16 levels from the
  end, and half a step of 15, averaged.

    above   Q(p),      p in 8 equal steps from 0.9677083 down to 0.5, which itself gives 0
    below   -Q(p),     p in 7 equal steps
    level   all of them divided by the largest, so that they run from -1 to 1

Each number gets the nearest level, which the midpoints between neighbours decide. Two codes share a byte, the first in
its high half, as in bitsandbytes. A last block that is not full is filled with zeros.

Derivation of the error. Between two levels that are s apart, the error of a number that can be anywhere is uniform on
(-s/2, s/2), with variance s^2 / 12. Levels at quantiles make s small where there are many numbers, near 0, and large
where there are few: see the test, which measures it beside 16 levels in equal steps.

Bits of a number: 4, and its share of the absmax, 32 / 64; or, quantised a second time, 8 / 64 and 32 / (64 256):
4.127. See `ops/double_quantization.py`.
"""

import functools
import struct
from statistics import NormalDist

from minilora.arrays.backend import Array, get_xp
from minilora.ops.blocks import from_blocks, in_blocks, inverse

BLOCK = 64  # numbers that share an absmax
OUTERMOST = 0.9677083  # 1 - (1/32 + 1/30) / 2, with as many digits as bitsandbytes has


@functools.cache
def nf4_levels() -> tuple[float, ...]:
    """The 16 levels in increasing order, from -1 to 1; level 7 is 0.

    Each step is rounded to float32, as bitsandbytes' are: so they are the published ones to the bit.
    """
    end = float32(OUTERMOST)
    above = [quantile(0.5 + (end - 0.5) * i / 8) for i in range(1, 9)]
    below = [-quantile(0.5 + (end - 0.5) * i / 7) for i in range(7, 0, -1)]
    return tuple(float32(level / above[-1]) for level in (*below, 0.0, *above))


def quantile(p: float) -> float:
    """Q(p): a number drawn from the standard Gaussian is below it with probability p."""
    return float32(NormalDist().inv_cdf(float32(p)))


def float32(x: float) -> float:
    """The float32 that is nearest to a number."""
    return struct.unpack("f", struct.pack("f", x))[0]


def nearest_levels(x: Array, levels: Array) -> Array:
    """The index of the level that is nearest to each number, of the lower one at a midpoint; uint8.

    Parameters
    ----------
    x : ndarray
    levels : ndarray of shape (n,)
        In increasing order, at most 256.
    """
    midpoints = (levels[:-1] + levels[1:]) / 2  # (n - 1,)
    return get_xp(x=x, levels=levels).searchsorted(midpoints, x).astype("uint8")


def quantize_nf4(w: Array) -> tuple[Array, Array]:
    """Codes and scales of an array, row by row.

    Parameters
    ----------
    w : float32 ndarray
        Of any shape; finite.

    Returns
    -------
    codes : uint8 ndarray of shape (32 n_blocks,)
        Two numbers a byte.
    absmax : float32 ndarray of shape (n_blocks,)
    """
    xp = get_xp(w=w)
    levels = xp.asarray(nf4_levels(), dtype="float32")
    blocks = in_blocks(w, BLOCK)  # (n_blocks, 64)
    absmax = abs(blocks).max(axis=1)  # (n_blocks,)
    q = nearest_levels(blocks * inverse(absmax)[:, None], levels)  # (n_blocks, 64)
    return (q[:, 0::2] << 4 | q[:, 1::2]).reshape(-1), absmax


def dequantize_nf4(codes: Array, absmax: Array, shape: tuple[int, ...]) -> Array:
    """w = absmax level[q], float32, of this shape.

    Parameters
    ----------
    codes : uint8 ndarray of shape (32 n_blocks,)
    absmax : float32 ndarray of shape (n_blocks,)
    shape : tuple of int
        Of the array that `quantize_nf4` was given.
    """
    xp = get_xp(codes=codes, absmax=absmax)
    levels = xp.asarray(nf4_levels(), dtype="float32")
    q = xp.stack([codes >> 4, codes & 15], axis=1).reshape(-1, BLOCK)  # (n_blocks, 64)
    w = levels[q] * absmax[:, None]
    return from_blocks(w, shape)
