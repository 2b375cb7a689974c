"""Some rows of an array, such as the positions that count in a batch: y[m] = rows(x)[indices[m]].

Derivation. y = S x with a selection matrix S of zeros and ones, one 1 in each row; so dx = S^T dy: row indices[m] of dx
is dy[m], and a row that was not taken has gradient zero. No row is taken twice, so nothing has to be summed.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array, check_same_device, get_xp


class TakeRowsCache(NamedTuple):
    shape: tuple  # (..., C), that of x
    indices: Any  # (M,)


def take_rows_forward(x: Array, indices: Array) -> tuple[Array, TakeRowsCache]:
    """y = rows(x)[indices].

    Parameters
    ----------
    x : ndarray of shape (..., C)
    indices : integer ndarray of shape (M,)
        The rows to take, each at most once, counted over all leading axes.

    Returns
    -------
    y : ndarray of shape (M, C)
    cache : TakeRowsCache
    """
    check_same_device(x=x, indices=indices)
    return x.reshape(-1, x.shape[-1])[indices], TakeRowsCache(x.shape, indices)  # (..., C) -> (M, C)


def take_rows_backward(dy: Array, cache: TakeRowsCache) -> Array:
    """The gradient with respect to x, (M, C) -> (..., C)."""
    xp = get_xp(dy=dy, indices=cache.indices)
    dx = xp.zeros(cache.shape, dtype=dy.dtype)
    # forward: y = rows(x)[indices]   so
    dx.reshape(-1, cache.shape[-1])[cache.indices] = dy
    return dx
