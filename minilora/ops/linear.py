"""The linear map y = x W^T + bias.

Derivation. For one row, y_o = sum_i W_oi x_i + bias_o, so that

    dL/dx_i    = sum_o dy_o W_oi              dx    = dy W
    dL/dW_oi   = sum over rows of dy_o x_i    dW    = dy^T x
    dL/dbias_o = sum over rows of dy_o        dbias = sum of the rows of dy
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device
from minilora.ops.rows import rows


class LinearCache(NamedTuple):
    x: Array | None  # (..., I); without it, W is a constant and has no gradient
    W: Array  # (O, I)
    bias: Array | None  # (O,)


def linear_forward(x: Array, W: Array, bias: Array | None = None) -> tuple[Array, LinearCache]:
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
    check_same_device(x=x, W=W, bias=bias)
    y = x @ W.T  # (..., I) @ (I, O) -> (..., O)
    if bias is not None:
        y = y + bias
    return y, LinearCache(x, W, bias)


def linear_backward(dy: Array, cache: LinearCache) -> tuple[Array, Array | None, Array | None]:
    """Gradients with respect to x, W and bias; None for those that the cache lacks.

    x is only kept for dW. To freeze W, drop it, ``cache._replace(x=None)``, and there is no dW.
    """
    x, W, bias = cache
    # forward: y = x W^T + bias   so
    dx = dy @ W  # (..., O) @ (O, I) -> (..., I)
    dW = None if x is None else rows(dy).T @ rows(x)  # (O, M) @ (M, I) -> (O, I)
    dbias = None if bias is None else rows(dy).sum(axis=0)  # (M, O) -> (O,)
    return dx, dW, dbias
