"""The convolution over time: each position reads the S nearest ones, with zeros beyond both ends.

    y[n, t] = bias + sum over s of W[:, :, s] x[n, t + s - P],    P = (S - 1) / 2,    s = 0 ... S - 1

For every s this is the linear map of `ops/linear.py`, applied to x shifted in time.

Derivation. x[n, t'] enters y[n, t] with t = t' - s + P, so

    dx[n, t']   = sum over s of W[:, :, s]^T dy[n, t' - s + P]
    dW[:, :, s] = sum over n, t of dy[n, t] x[n, t + s - P]^T
    dbias       = sum over n, t of dy[n, t]
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.ops.rows import rows


class Conv1dCache(NamedTuple):
    padded: Array | None  # (N, T + S - 1, I): x with P zeros at both ends; without it, W is a constant
    W: Array  # (O, I, S)
    bias: Array | None  # (O,)


def conv1d_forward(x: Array, W: Array, bias: Array) -> tuple[Array, Conv1dCache]:
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
    (N, T, I), (O, _, S) = x.shape, W.shape
    if S % 2 == 0:
        raise ValueError(f"W had shape {W.shape}, a kernel of size {S}; its size must be odd")
    padded = xp.zeros((N, T + S - 1, I), dtype=x.dtype)
    padded[:, S // 2 : S // 2 + T] = x
    y = xp.zeros((N, T, O), dtype=x.dtype) + bias
    for s in range(S):
        y = y + padded[:, s : s + T] @ W[:, :, s].T  # (N, T, I) @ (I, O) -> (N, T, O)
    return y, Conv1dCache(padded, W, bias)


def conv1d_backward(dy: Array, cache: Conv1dCache) -> tuple[Array, Array | None, Array | None]:
    """Gradients with respect to x, (N, T, I), W, (O, I, S), and bias, (O,); None for what the cache does not have.

    padded is kept for dW alone. Whoever freezes W drops it, ``cache._replace(padded=None)``, and there is no dW.
    """
    padded, W, bias = cache
    xp, (N, T, _), (_, I, S) = get_xp(dy=dy, W=W), dy.shape, W.shape
    dpadded, dW = xp.zeros((N, T + S - 1, I), dtype=dy.dtype), None
    # forward: y = bias + sum over s of padded[:, s : s + T] W_s^T   so
    for s in range(S):
        dpadded[:, s : s + T] += dy @ W[:, :, s]  # (N, T, O) @ (O, I) -> (N, T, I)
    if padded is not None:
        dW = xp.stack([rows(dy).T @ rows(padded[:, s : s + T]) for s in range(S)], axis=-1)  # S of (O, M) @ (M, I)
    # forward: padded[:, P : P + T] = x   so
    dx = dpadded[:, S // 2 : S // 2 + T]  # (N, T, I)
    dbias = None if bias is None else rows(dy).sum(axis=0)  # (M, O) -> (O,)
    return dx, dW, dbias
