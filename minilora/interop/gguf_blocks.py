"""Every type of tensor that minilora reads from a GGUF file, by its number, and the values of a tensor.

The formulas are in `ops/gguf_blocks.py`, `gguf_plain_blocks.py` and `gguf_k_blocks.py`.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy

from minilora.interop import gguf_k_blocks as k_blocks
from minilora.interop import gguf_plain_blocks as plain_blocks
from minilora.ops.fast import dequantize_q4_1, dequantize_q8_0

CHUNK = 2**20  # numbers that are dequantised at a time, so that what lies between bytes and numbers stays small


class Block(NamedTuple):
    name: str
    numbers: int  # in a block
    bytes: int
    dequantize: Callable[[numpy.ndarray], numpy.ndarray]


F32, F16, Q8_0 = 0, 1, 8
BLOCKS = {  # by GGUF's number of the type
    F32: Block("F32", 1, 4, plain_blocks.from_f32),
    F16: Block("F16", 1, 2, plain_blocks.from_f16),
    30: Block("BF16", 1, 2, plain_blocks.from_bf16),
    Q8_0: Block("Q8_0", 32, 34, dequantize_q8_0),
    6: Block("Q5_0", 32, 22, plain_blocks.from_q5_0),
    7: Block("Q5_1", 32, 24, plain_blocks.from_q5_1),
    2: Block("Q4_0", 32, 18, plain_blocks.from_q4_0),
    3: Block("Q4_1", 32, 20, dequantize_q4_1),
    20: Block("IQ4_NL", 32, 18, plain_blocks.from_iq4_nl),
    10: Block("Q2_K", 256, 84, k_blocks.from_q2_k),
    11: Block("Q3_K", 256, 110, k_blocks.from_q3_k),
    12: Block("Q4_K", 256, 144, k_blocks.from_q4_k),
    13: Block("Q5_K", 256, 176, k_blocks.from_q5_k),
    14: Block("Q6_K", 256, 210, k_blocks.from_q6_k),
    23: Block("IQ4_XS", 256, 136, k_blocks.from_iq4_xs),
}
OTHERS = {  # what llama.cpp can read and minilora cannot, for the message
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    21: "IQ3_S",
    22: "IQ2_S",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
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
