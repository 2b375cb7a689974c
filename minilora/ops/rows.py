"""Arrays with free leading axes, seen as rows.

A product of a (N, T, I) array with a matrix is one matrix product over N T rows. Written as ``x @ W.T`` it becomes N
separate ones, at a third of the speed, and ``dy.swapaxes(-1, -2) @ x`` makes a temporary that is N times too large.
"""

from minilora.arrays.backend import constant_vector, get_xp, on_host, vecdot


def rows(x):
    """(..., C) -> (M, C), where M is the product of the leading axes; a view where the memory layout allows."""
    return x.reshape(-1, x.shape[-1])


def unrows(y, shape):
    """(M, O) -> (..., O), where `shape` is the (..., I) that `rows` flattened."""
    return y.reshape(*shape[:-1], y.shape[-1])


def rows_times_transposed(x, W):
    """x W^T, (M, I), (O, I) -> (M, O). On a CPU, a single row, as when a token is generated, goes as O dot products.

    That product is as fast as W can be read, and vecdot reads faster than BLAS's kernel (docs/speed.md has both times).
    """
    return vecdot(W, x)[None] if len(x) == 1 and on_host(x) else x @ W.T


def transposed_times(a, b):
    """a^T b of the last two axes, (..., M, I), (..., M, O) -> (..., I, O), where a is the larger one.

    CuPy copies what is transposed, in a product of stacks of matrices; (b^T a)^T lets it copy the smaller one.
    """
    if on_host(a):
        return a.swapaxes(-1, -2) @ b
    return (b.swapaxes(-1, -2) @ a).swapaxes(-1, -2)


def row_mean(x):
    """The mean over the last axis, (..., C) -> (..., 1), as a matrix-vector product: one pass over memory."""
    return _weighted_row_sum(x, 1.0 / x.shape[-1])


def row_sum(x):
    """The sum over the last axis, (..., C) -> (..., 1), likewise."""
    return _weighted_row_sum(x, 1.0)


def _weighted_row_sum(x, weight):
    C = x.shape[-1]
    weights = constant_vector(get_xp(x=x), C, weight, x.dtype)
    return (x.reshape(-1, C) @ weights).reshape(*x.shape[:-1], 1)


def row_dot(a, b):
    """sum_c a_c b_c over the last axis, (..., C), (..., C) -> (..., 1)."""
    return vecdot(a, b)[..., None]
