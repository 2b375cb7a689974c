"""Computing a chunk of rows at a time, so that a chunk stays in the second-level cache from one pass to the next.

An elementwise formula such as GELU makes a dozen passes over its array. Where the array is larger than a core's
second-level cache, each pass waits for memory; in chunks that fit, only the first one does. The formulas know nothing
of it. A GPU has no use for chunks: there, one chunk covers everything.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy

from minilora.arrays.backend import Array, ArrayModule, get_xp

L2_BYTES = 512 * 1024  # for one array of a computation; a second-level cache has 512 KiB to 2 MiB


def row_chunks(n: int, bytes_each: int, bytes_per_chunk: int) -> list[slice]:
    """Cut range(n) into slices of at most `bytes_per_chunk` bytes, each with at least one row.

    Parameters
    ----------
    n : int
        The number of rows (or elements, or sequences) to be computed.
    bytes_each : int
        The size of one of them.
    bytes_per_chunk : int
    """
    size = max(1, min(bytes_per_chunk // max(bytes_each, 1), n))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def l2_chunks(n: int, bytes_each: int, xp: ArrayModule) -> list[slice]:
    """`row_chunks` of L2_BYTES; on a GPU, a single chunk."""
    return row_chunks(n, bytes_each, L2_BYTES if xp is numpy else sys.maxsize)


def elementwise(formula: Callable[..., Any], *inputs: Array, results: int) -> tuple[Array, ...]:
    """y, ... from arrays of one shape, a chunk of their elements at a time.

    On the host, an element that overflows becomes infinity without a warning: 1 / (1 + exp(-x)) is right for every x.

    Parameters
    ----------
    formula : callable
        ``formula(x, ..., y, ...)`` overwrites y, ..., arrays of x's shape and dtype; each element depends only on that
        element of x, ....
    *inputs : ndarray
        x, ....
    results : int
        How many y, ... there are.

    Returns
    -------
    tuple of ndarray of x's shape and dtype
    """
    x, xp = inputs[0], get_xp(*inputs)
    wholes = [xp.empty(x.shape, x.dtype) for _ in range(results)]
    chunks = l2_chunks(x.size, x.itemsize, xp)
    with numpy.errstate(over="ignore"):
        if len(chunks) <= 1:
            formula(*inputs, *wholes)
        else:
            flat = [array.reshape(-1) for array in (*inputs, *wholes)]
            for chunk in chunks:
                formula(*(array[chunk] for array in flat))
    return tuple(wholes)
