"""A learned factor for each channel, y = l * x: all that IA3 adds to a model (Liu et al., 2022, section 3.3).

    keys, values                       l_k * (x W_k^T + bias),   l_v * (x W_v^T + bias)
    inner activations of the MLP       (l_ff * f(x W_1^T + bias)) W_2^T + bias

Derivation. y = x diag(l), so dx = dy diag(l). Each l_i multiplies the i-th channel of every row of x, so that dl_i is
the sum of dy_i x_i over all rows.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device
from minilora.ops.rows import rows


class RescaleCache(NamedTuple):
    x: Array  # (..., C)
    l: Array  # (C,)


def rescale_forward(x: Array, l: Array) -> tuple[Array, RescaleCache]:
    """y = l * x.

    Parameters
    ----------
    x : ndarray of shape (..., C)
    l : ndarray of shape (C,)

    Returns
    -------
    y : ndarray of shape (..., C)
    cache : RescaleCache
    """
    check_same_device(x=x, l=l)
    return l * x, RescaleCache(x, l)


def rescale_backward(dy: Array, cache: RescaleCache) -> tuple[Array, Array]:
    """Gradients with respect to x, (..., C), and l, (C,)."""
    x, l = cache
    # forward: y = l * x   so
    dx = l * dy  # (..., C)
    dl = rows(dy * x).sum(axis=0)  # (..., C) -> (C,)
    return dx, dl
