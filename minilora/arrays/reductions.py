"""Sums for which NumPy and CuPy each have their own fast way."""

import functools
from typing import Any

import numpy

from minilora.arrays.backend import Array, get_xp


def constant_vector(xp: Any, n: int, value: float, dtype: Any) -> Array:
    """A read-only vector of n equal numbers. On the host, it is the same array each time."""
    return _host_constant_vector(n, value, dtype) if xp is numpy else xp.full(n, value, dtype=dtype)


@functools.lru_cache(maxsize=64)
def _host_constant_vector(n: int, value: float, dtype: Any) -> numpy.ndarray:
    vector = numpy.full(n, value, dtype=dtype)
    vector.flags.writeable = False
    return vector


def vecdot(a: Array, b: Array) -> Array:
    """sum_c a_c b_c over the last axis, (..., C), (..., C) -> (...), without the array of products."""
    if type(a) is numpy.ndarray and a.dtype.kind == "f":
        return numpy.vecdot(a, b)
    # CuPy has no vecdot, and NumPy's conjugates a complex a
    return get_xp(a=a, b=b).einsum("...c,...c->...", a, b)


def scatter_add(target: Array, ids: Array, updates: Array) -> None:
    """``target[ids[m]] += updates[m]`` for every m, in place; an id can occur more than once.

    Parameters
    ----------
    target : ndarray of shape (V, C)
    ids : integer ndarray of shape (M,)
    updates : ndarray of shape (M, C)
    """
    xp = get_xp(target=target, ids=ids, updates=updates)
    if xp is not numpy:
        xp.add.at(target, ids, updates)
    elif len(ids):
        # numpy.add.at takes five times as long as summing runs of equal ids
        order = numpy.argsort(ids, kind="stable")
        ids = ids[order]
        starts = numpy.flatnonzero(numpy.concatenate(([True], ids[1:] != ids[:-1])))
        target[ids[starts]] += numpy.add.reduceat(updates[order], starts)
