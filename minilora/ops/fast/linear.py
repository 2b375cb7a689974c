"""The linear map (`ops/linear.py`) as one matrix product over all rows."""

from minilora.arrays.backend import Array, check_same_device
from minilora.arrays.products import product
from minilora.ops import linear as page
from minilora.ops.fast.row_products import rows_times_transposed, sum_of_rows, unrows
from minilora.ops.linear import LinearCache
from minilora.ops.plain import engine_of
from minilora.ops.rows import rows


@engine_of(page.linear_forward)
def linear_forward(x: Array, W: Array, bias: Array | None = None) -> tuple[Array, LinearCache]:
    check_same_device(x=x, W=W, bias=bias)
    y = rows_times_transposed(rows(x), W)  # (M, I) @ (I, O) -> (M, O)
    if bias is not None:
        y += bias
    return unrows(y, x.shape), LinearCache(x, W, bias)


@engine_of(page.linear_backward)
def linear_backward(dy: Array, cache: LinearCache) -> tuple[Array, Array | None, Array | None]:
    x, W, bias = cache
    # forward: y = x W^T + bias   so
    dx = unrows(product(rows(dy), W), dy.shape)  # (M, O) @ (O, I) -> (M, I)
    dW = None if x is None else product(rows(dy).T, rows(x))  # (O, M) @ (M, I) -> (O, I)
    dbias = None if bias is None else sum_of_rows(dy)  # (O,)
    return dx, dW, dbias
