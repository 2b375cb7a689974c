"""Arrays with free leading axes, seen as rows.

A product of a (N, T, I) array with a matrix is one matrix product over N T rows. Written as ``x @ W.T`` it becomes N
separate ones, at a third of the speed, and ``dy.swapaxes(-1, -2) @ x`` makes a temporary that is N times too large.
"""

from minilora.backend import get_xp


def rows(x):
    """(..., C) -> (M, C), where M is the product of the leading axes; a view where the memory layout allows."""
    return x.reshape(-1, x.shape[-1])


def unrows(y, shape):
    """(M, O) -> (..., O), where `shape` is the (..., I) that `rows` flattened."""
    return y.reshape(*shape[:-1], y.shape[-1])


def row_mean(x):
    """The mean over the last axis, (..., C) -> (..., 1), as a matrix-vector product: one pass over memory."""
    xp = get_xp(x=x)
    C = x.shape[-1]
    return (rows(x) @ xp.full(C, 1.0 / C, dtype=x.dtype)).reshape(*x.shape[:-1], 1)


def row_dot(a, b):
    """sum_c a_c b_c over the last axis, (..., C), (..., C) -> (..., 1), without the array of products."""
    return get_xp(a=a, b=b).einsum("...c,...c->...", a, b)[..., None]
