"""LoRA's linear map (`ops/lora_linear.py`) over rows, with sums in place."""

from minilora.arrays.backend import Array, check_same_device
from minilora.arrays.products import product
from minilora.ops import lora_linear as page
from minilora.ops.fast.row_products import rows_times_transposed, unrows
from minilora.ops.lora_linear import LoRALinearCache
from minilora.ops.plain import engine_of
from minilora.ops.rows import rows


@engine_of(page.lora_linear_forward)
def lora_linear_forward(
    x: Array, W: Array, bias: Array | None, A: Array, B: Array, scale: float, dropout_mask: Array | None = None
) -> tuple[Array, LoRALinearCache]:
    check_same_device(x=x, W=W, bias=bias, A=A, B=B, dropout_mask=dropout_mask)
    scale = float(scale)
    y = rows_times_transposed(rows(x), W)  # (M, I) @ (I, O) -> (M, O)
    if bias is not None:
        y += bias
    if dropout_mask is not None:
        x = x * dropout_mask
    h = rows(x) @ A.T  # (M, I) @ (I, r) -> (M, r)
    y += (scale * h) @ B.T  # (M, r) @ (r, O) -> (M, O)
    return unrows(y, x.shape), LoRALinearCache(x, unrows(h, x.shape), W, A, B, scale, dropout_mask)


@engine_of(page.lora_linear_backward)
def lora_linear_backward(dy: Array, cache: LoRALinearCache) -> tuple[Array, Array, Array]:
    x, h, W, A, B, scale, dropout_mask = cache
    shape, dy, x, h = dy.shape, rows(dy), rows(x), rows(h)
    # forward: y = ... + scale h B^T   so
    dh = scale * (dy @ B)  # (M, O) @ (O, r) -> (M, r)
    dB = scale * (dy.T @ h)  # (O, M) @ (M, r) -> (O, r)
    # forward: h = x A^T   so
    dA = dh.T @ x  # (r, M) @ (M, I) -> (r, I)
    dx_lora = dh @ A  # (M, r) @ (r, I) -> (M, I)
    if dropout_mask is not None:
        dx_lora *= rows(dropout_mask)
    dx = product(dy, W)  # (M, O) @ (O, I) -> (M, I)
    dx += dx_lora
    return unrows(dx, shape), dA, dB
