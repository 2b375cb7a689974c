"""Arrays with free leading axes, viewed as rows, and the fastest ways to multiply and sum rows.

A product of a (N, T, I) array with a matrix is one matrix product over N T rows. Written as ``x @ W.T`` it becomes N
separate ones, at a third of the speed, and ``dy.swapaxes(-1, -2) @ x`` makes a temporary that is N times too large.
"""

from minilora.arrays.backend import Array, get_xp, on_host
from minilora.arrays.products import product
from minilora.arrays.reductions import constant_vector, vecdot
from minilora.ops.rows import rows


def unrows(y: Array, shape: tuple) -> Array:
    """(M, O) -> (..., O), where `shape` is the (..., I) that `rows` flattened."""
    return y.reshape(*shape[:-1], y.shape[-1])


def rows_times_transposed(x: Array, W: Array) -> Array:
    """x W^T, (M, I), (O, I) -> (M, O). On a CPU, a single row, as in generation, is computed as O dot products.

    A single row is memory-bound: vecdot reads W faster than BLAS's gemv (docs/speed.md has both times).
    """
    return vecdot(W, x)[None] if len(x) == 1 and on_host(x) else product(x, W.T)


def transposed_times_into(total: Array, a: Array, b: Array, add: bool) -> None:
    """total = a^T b, or total += a^T b, over the last two axes, (..., M, I), (..., M, O) -> (..., I, O).

    a is larger than b. In a product of stacks of matrices, CuPy copies the transposed one; (b^T a)^T lets it copy the
    smaller one.
    """
    xp = get_xp(total=total, a=a, b=b)
    if add:
        total += a.swapaxes(-1, -2) @ b if on_host(a) else (b.swapaxes(-1, -2) @ a).swapaxes(-1, -2)
    elif on_host(a):
        xp.matmul(a.swapaxes(-1, -2), b, out=total)
    else:
        total[...] = (b.swapaxes(-1, -2) @ a).swapaxes(-1, -2)


def sum_of_rows(x: Array) -> Array:
    """The sum over all axes except the last, (..., C) -> (C,); on a CPU, as a vector-matrix product."""
    x = rows(x)
    return constant_vector(get_xp(x=x), len(x), 1.0, x.dtype) @ x if on_host(x) else x.sum(axis=0)


def row_sum(x: Array) -> Array:
    """The sum over the last axis, (..., C) -> (..., 1), as a matrix-vector product: one pass over memory."""
    ones = constant_vector(get_xp(x=x), x.shape[-1], 1.0, x.dtype)
    return (x @ ones)[..., None]


def row_mean(x: Array) -> Array:
    """The mean over the last axis, (..., C) -> (..., 1). (A weight of 1 / C for the ones would not be exact.)"""
    return row_sum(x) / x.shape[-1]


def row_dot(a: Array, b: Array) -> Array:
    """sum_c a_c b_c over the last axis, (..., C), (..., C) -> (..., 1)."""
    return vecdot(a, b)[..., None]
