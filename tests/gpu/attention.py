"""Time and memory of attention on a GPU, forward and backward: of the kernels, and of the tiles that they replace.

    python tests/gpu/attention.py

The tiles are one tile on a GPU: products of stacks, here in TF32, around an (N, H, T, T) array of scores.
"""

import sys
from unittest.mock import patch

import numpy as np
from timing import print_lines, seconds_of

from minilora.arrays.backend import gpu_memory, tf32, to_device
from minilora.ops.fast import attention_backward, attention_forward, flash_attention

SHAPES = ((8, 12, 12, 512, 64), (4, 32, 8, 2048, 128), (1, 32, 8, 8192, 128))  # N, H, G, T, K
TIMES = 5


def step(q, k, v):
    """Forward and backward, causal."""
    y, cache = attention_forward(q, k, v)
    return attention_backward(y, cache)


def measured(q, k, v):
    """Seconds of a step, and the bytes that it makes at most."""
    before = gpu_memory(release=True)["total"]
    step(q, k, v)  # compiles, too
    held = gpu_memory()["total"] - before
    return seconds_of(lambda: step(q, k, v), q, TIMES), held


def line(N, H, G, T, K):
    """What is said of one shape."""
    rng = np.random.default_rng(0)
    heads = [to_device(rng.standard_normal((N, g, T, K)).astype("float32"), "gpu") for g in (H, G, G)]
    seconds, held = measured(*heads)
    try:
        with patch.object(flash_attention, "FEWEST_QUERIES", sys.maxsize), tf32():
            tiles = "{:.2f} ms, {:,.0f} MB".format(*np.multiply(measured(*heads), (1e3, 1e-6)))
    except Exception as error:  # such as cupy.cuda.memory.OutOfMemoryError
        tiles = type(error).__name__
    return f"N {N}, H {H}, G {G}, T {T}, K {K}: {1e3 * seconds:.2f} ms, {held / 1e6:,.0f} MB; tiles, TF32: {tiles}"


if __name__ == "__main__":
    print_lines(line, SHAPES)
