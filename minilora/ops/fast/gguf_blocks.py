"""Q4_1 (`ops/gguf_blocks.py`) with its halves written where they belong, and sums in place."""

from minilora.arrays.backend import Array, get_xp
from minilora.ops import gguf_blocks as page
from minilora.ops.plain import engine_of


@engine_of(page.dequantize_q4_1)
def dequantize_q4_1(blocks: Array) -> Array:
    xp, packed = get_xp(blocks=blocks), blocks[:, 4:]
    q = xp.empty((len(blocks), 32), "uint8")
    xp.bitwise_and(packed, 15, out=q[:, :16])
    xp.right_shift(packed, 4, out=q[:, 16:])
    w = q.astype("float32")
    w *= page.halves_of(blocks[:, :2])
    w += page.halves_of(blocks[:, 2:4])
    return w
