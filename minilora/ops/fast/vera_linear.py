"""VeRA's linear map (`ops/vera_linear.py`) over rows, with sums in place."""

from minilora.arrays.backend import Array, check_same_device, get_xp
from minilora.arrays.products import product
from minilora.ops import vera_linear as page
from minilora.ops.fast.row_products import rows_times_transposed, unrows
from minilora.ops.plain import engine_of
from minilora.ops.rows import rows
from minilora.ops.vera_linear import VeRALinearCache


@engine_of(page.vera_linear_forward)
def vera_linear_forward(
    x: Array, W: Array, bias: Array | None, A: Array, B: Array, d: Array, b: Array, dropout_mask: Array | None = None
) -> tuple[Array, VeRALinearCache]:
    check_same_device(x=x, W=W, bias=bias, A=A, B=B, d=d, b=b, dropout_mask=dropout_mask)
    y = rows_times_transposed(rows(x), W)  # (M, I) @ (I, O) -> (M, O)
    if bias is not None:
        y += bias
    if dropout_mask is not None:
        x = x * dropout_mask
    h = rows(x) @ A.T  # (M, I) @ (I, r) -> (M, r)
    v = (d * h) @ B.T  # (M, r) @ (r, O) -> (M, O)
    y += b * v
    h, v = unrows(h, x.shape), unrows(v, x.shape)
    return unrows(y, x.shape), VeRALinearCache(h, v, W, A, B, d, b, dropout_mask)


@engine_of(page.vera_linear_backward)
def vera_linear_backward(dy: Array, cache: VeRALinearCache) -> tuple[Array, Array, Array]:
    h, v, W, A, B, d, b, dropout_mask = cache
    shape, dy, einsum = dy.shape, rows(dy), get_xp(dy=dy).einsum
    # forward: y = ... + b * v   so
    db = einsum("mo,mo->o", dy, rows(v))  # (M, O) -> (O,)
    # forward: v = (d * h) B^T   so
    du = (b * dy) @ B  # (M, O) @ (O, r) -> (M, r)
    dd = einsum("mr,mr->r", du, rows(h))  # (M, r) -> (r,)
    du *= d
    # forward: h = x A^T   so
    dx_vera = du @ A  # (M, r) @ (r, I) -> (M, I)
    if dropout_mask is not None:
        dx_vera *= rows(dropout_mask)
    dx = product(dy, W)  # (M, O) @ (O, I) -> (M, I)
    dx += dx_vera
    return unrows(dx, shape), dd, db
