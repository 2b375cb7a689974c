"""The linear map y = x W^T + bias.

Derivation. For one row, y_o = sum_i W_oi x_i + bias_o, so that

    dL/dx_i    = sum_o dy_o W_oi        dx    = dy W
    dL/dW_oi   = sum over rows of dy_o x_i    dW    = dy^T x
    dL/dbias_o = sum over rows of dy_o        dbias = sum of the rows of dy

Each gradient is a function of its own, so that a layer with a frozen W asks for dx and nothing else.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp
from minilora.ops.rows import rows, rows_times_transposed, unrows


class LinearCache(NamedTuple):
    x: Any  # (..., I), or None where nobody asks for dW
    W: Any  # (O, I)
    bias: Any  # (O,) or None


def linear_forward(x, W, bias=None):
    """y = x W^T + bias.

    Parameters
    ----------
    x : ndarray of shape (..., I)
    W : ndarray of shape (O, I)
    bias : ndarray of shape (O,), optional

    Returns
    -------
    y : ndarray of shape (..., O)
    cache : LinearCache
    """
    get_xp(x=x, W=W, bias=bias)
    y = rows_times_transposed(rows(x), W)  # x W^T, (M, I), (O, I) -> (M, O)
    if bias is not None:
        y += bias
    return unrows(y, x.shape), LinearCache(x, W, bias)


def linear_backward(dy, cache):
    """Gradients with respect to x, W and bias (None if there is no bias)."""
    return linear_dx(dy, cache), linear_dW(dy, cache), linear_dbias(dy, cache)


def linear_dx(dy, cache):
    """forward: y = x @ W.T   so   dx = dy @ W,  (..., O) -> (..., I)"""
    return unrows(rows(dy) @ cache.W, dy.shape)


def linear_dW(dy, cache):
    """forward: y = x @ W.T   so   dW = dy.T @ x,  (O, M) @ (M, I) -> (O, I)"""
    return rows(dy).T @ rows(cache.x)


def linear_dbias(dy, cache):
    """forward: y = ... + bias   so   dbias is the sum of the rows of dy,  (..., O) -> (O,)"""
    if cache.bias is None:
        return None
    xp = get_xp(dy=dy)
    return xp.ones(rows(dy).shape[0], dtype=dy.dtype) @ rows(dy)
