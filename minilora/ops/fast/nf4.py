"""NF4 (`ops/nf4.py`) by a table: a byte of two codes is looked up once, and gives both numbers."""

import functools
from typing import Any

from minilora.arrays.backend import Array, get_xp
from minilora.ops import nf4 as page
from minilora.ops.blocks import from_blocks
from minilora.ops.plain import engine_of


@engine_of(page.dequantize_nf4)
def dequantize_nf4(codes: Array, absmax: Array, shape: tuple[int, ...]) -> Array:
    xp = get_xp(codes=codes, absmax=absmax)
    w = _pairs(xp).take(codes).view("float32").reshape(-1, page.BLOCK)  # (n_blocks, 64)
    w *= absmax[:, None]
    return from_blocks(w, shape)


@functools.cache
def _pairs(xp: Any) -> Array:
    """The two levels of every byte, side by side in the 8 bytes of what counts as one float64: (256,)"""
    levels, byte = xp.asarray(page.nf4_levels(), dtype="float32"), xp.arange(256)
    return xp.stack([levels[byte >> 4], levels[byte & 15]], axis=1).view("float64").reshape(-1)
