"""A linear map of which some rows are trained: y = x W'^T, where W' is W, but for a few rows, which are those of P.

    y_o = x . P_s       where o = places[s]
    y_o = x . W_o       elsewhere

Derivation. The columns of y at `places` are x P^T, and those of W there are not read. So dP = (dy at places)^T x,
summed over all rows of x, and dx = dy W with those columns of dy left out, plus (dy at places) P. No dW is formed: W is
frozen.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device
from minilora.ops.rows import rows


class LinearRowsCache(NamedTuple):
    x: Array  # (..., I)
    W: Array  # (O, I)
    P: Array  # (S, I)
    places: Array  # integers (S,)


def linear_rows_forward(x: Array, W: Array, P: Array, places: Array) -> tuple[Array, LinearRowsCache]:
    """y = x W'^T.

    Parameters
    ----------
    x : ndarray of shape (..., I)
    W : ndarray of shape (O, I)
        Frozen.
    P : ndarray of shape (S, I)
    places : integer ndarray of shape (S,)
        Which rows P replaces, each once.

    Returns
    -------
    y : ndarray of shape (..., O)
    cache : LinearRowsCache
    """
    check_same_device(x=x, W=W, P=P, places=places)
    y = x @ W.T  # (..., O)
    y[..., places] = x @ P.T  # (..., S)
    return y, LinearRowsCache(x, W, P, places)


def linear_rows_backward(dy: Array, cache: LinearRowsCache) -> tuple[Array, Array]:
    """Gradients with respect to x, (..., I), and P, (S, I); W is constant."""
    x, W, P, places = cache
    # forward: y[..., places] = x P^T           so
    dy_P = dy[..., places]  # (..., S)
    dP = rows(dy_P).T @ rows(x)  # (S, I)
    # forward: y = x W^T at all other places    so
    dy_W = dy.copy()
    dy_W[..., places] = 0.0
    dx = dy_W @ W + dy_P @ P  # (..., I)
    return dx, dP
