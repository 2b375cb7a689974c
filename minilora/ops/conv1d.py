"""The convolution over time: each position takes in its S nearest, and beyond both ends stands zero.

    y[n, t] = bias + sum over s of W[:, :, s] x[n, t + s - P],    P = (S - 1) / 2,    s = 0 ... S - 1

For every s this is the linear map of `ops/linear.py`, of x shifted in time.

Derivation. x[n, t'] enters y[n, t] with t = t' - s + P, so

    dx[n, t']   = sum over s of W[:, :, s]^T dy[n, t' - s + P]
    dW[:, :, s] = sum over n, t of dy[n, t] x[n, t + s - P]^T
    dbias       = sum over n, t of dy[n, t]
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp
from minilora.ops.linear import LinearCache, linear_dbias, linear_dW, linear_dx, linear_forward


class Conv1dCache(NamedTuple):
    padded: Any  # (N, T + S - 1, I): x with P zeros at both ends
    W: Any  # (O, I, S)
    bias: Any  # (O,)


def conv1d_forward(x, W, bias):
    """y[n, t] = bias + sum over s of W[:, :, s] x[n, t + s - P].

    Parameters
    ----------
    x : ndarray of shape (N, T, I)
    W : ndarray of shape (O, I, S)
        S is odd.
    bias : ndarray of shape (O,)

    Returns
    -------
    y : ndarray of shape (N, T, O)
    cache : Conv1dCache

    Raises
    ------
    ValueError
        If S is even.
    """
    xp = get_xp(x=x, W=W, bias=bias)
    (N, T, I), S = x.shape, W.shape[2]
    if S % 2 == 0:
        raise ValueError(f"W had shape {W.shape}, a kernel of size {S}; it may be odd")
    padded = xp.zeros((N, T + S - 1, I), dtype=x.dtype)
    padded[:, S // 2 : S // 2 + T] = x
    y, _ = linear_forward(padded[:, :T], W[:, :, 0], bias)  # (N, T, I) -> (N, T, O)
    for s in range(1, S):
        y += linear_forward(padded[:, s : s + T], W[:, :, s])[0]
    return y, Conv1dCache(padded, W, bias)


def conv1d_backward(dy, cache):
    """Gradients with respect to x, W and bias."""
    return conv1d_dx(dy, cache), conv1d_dW(dy, cache), conv1d_dbias(dy, cache)


def conv1d_dx(dy, cache):
    """forward: y += padded[:, s : s + T] @ W_s.T   so   dpadded[:, s : s + T] += dy @ W_s"""
    xp = get_xp(dy=dy, W=cache.W)
    T, S = dy.shape[1], cache.W.shape[2]
    dpadded = xp.zeros_like(cache.padded)
    for s, linear_cache in _shifts(cache, T):
        dpadded[:, s : s + T] += linear_dx(dy, linear_cache)
    # forward: padded[:, P : P + T] = x   so
    return dpadded[:, S // 2 : S // 2 + T]


def conv1d_dW(dy, cache):
    """forward: y += padded[:, s : s + T] @ W_s.T   so   dW_s = dy.T @ padded[:, s : s + T],  (O, I, S)"""
    xp = get_xp(dy=dy, W=cache.W)
    dW = xp.empty_like(cache.W)
    for s, linear_cache in _shifts(cache, dy.shape[1]):
        dW[:, :, s] = linear_dW(dy, linear_cache)
    return dW


def conv1d_dbias(dy, cache):
    """forward: y = ... + bias   so   dbias is the sum of the rows of dy,  (N, T, O) -> (O,)"""
    return linear_dbias(dy, LinearCache(cache.padded, cache.W, cache.bias))


def _shifts(cache, T):
    """Each s, with the cache of the linear map that the forward applied to x so shifted."""
    for s in range(cache.W.shape[2]):
        yield s, LinearCache(cache.padded[:, s : s + T], cache.W[:, :, s], None)
