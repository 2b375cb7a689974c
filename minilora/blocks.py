"""Computing a block of rows at a time, so that a block stays in the cache from one pass over it to the next.

An elementwise formula such as GELU makes a dozen passes over its array. Where the array is larger than a core's
cache, each pass waits for memory; in blocks that fit, only the first one does. The formulas do not know of it. A GPU
has no use for blocks: there, one block covers all.
"""

import sys

import numpy

from minilora.backend import get_xp

CACHE_BYTES = 512 * 1024  # for one array of a computation; a second-level cache has 512 KiB to 2 MiB


def row_blocks(n, bytes_each, bytes_a_block):
    """Cut range(n) into slices of at most `bytes_a_block`, but of at least one row.

    Parameters
    ----------
    n : int
        The number of rows (or elements, or sequences) to be computed.
    bytes_each : int
        The size of one of them.
    bytes_a_block : int
    """
    size = max(1, min(bytes_a_block // max(bytes_each, 1), n))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def cache_blocks(n, bytes_each, xp):
    """`row_blocks` of CACHE_BYTES; on a GPU, one that covers all."""
    return row_blocks(n, bytes_each, CACHE_BYTES if xp is numpy else sys.maxsize)


def elementwise(formula, x):
    """y, ... = formula(x) for an x of any shape, a block of its elements at a time.

    Parameters
    ----------
    formula : callable
        ``formula(x)`` returns a tuple of arrays of x's shape and dtype; an element of theirs depends on that of x.
    x : ndarray

    Returns
    -------
    tuple of ndarray of x's shape and dtype
    """
    xp = get_xp(x=x)
    flat = x.reshape(-1)
    blocks = cache_blocks(flat.size, flat.itemsize, xp)
    if len(blocks) <= 1:
        return formula(x)
    wholes = None
    for block in blocks:
        parts = formula(flat[block])
        wholes = wholes or [xp.empty_like(flat) for _ in parts]
        for whole, part in zip(wholes, parts, strict=True):
            whole[block] = part
    return tuple(whole.reshape(x.shape) for whole in wholes)
