"""LoRA-FA's linear map (`ops/lora_fa_linear.py`) over rows, with sums in place."""

from minilora.arrays.backend import Array
from minilora.arrays.products import product
from minilora.ops import lora_fa_linear as page
from minilora.ops.fast.lora_linear import lora_linear_forward
from minilora.ops.fast.row_products import unrows
from minilora.ops.lora_fa_linear import LoRAFALinearCache
from minilora.ops.plain import engine_of
from minilora.ops.rows import rows


@engine_of(page.lora_fa_linear_forward)
def lora_fa_linear_forward(
    x: Array, W: Array, bias: Array | None, A: Array, B: Array, scale: float, dropout_mask: Array | None = None
) -> tuple[Array, LoRAFALinearCache]:
    y, cache = lora_linear_forward.engine(x, W, bias, A, B, scale, dropout_mask)  # type: ignore[attr-defined]
    return y, LoRAFALinearCache(*cache[1:])  # without x


@engine_of(page.lora_fa_linear_backward)
def lora_fa_linear_backward(dy: Array, cache: LoRAFALinearCache) -> tuple[Array, Array]:
    h, W, A, B, scale, dropout_mask = cache
    shape, dy = dy.shape, rows(dy)
    # forward: y = ... + scale h B^T   so
    dB = scale * (dy.T @ rows(h))  # (O, M) @ (M, r) -> (O, r)
    dh = scale * (dy @ B)  # (M, O) @ (O, r) -> (M, r)
    # forward: h = x A^T   so
    dx_lora = dh @ A  # (M, r) @ (r, I) -> (M, I)
    if dropout_mask is not None:
        dx_lora *= rows(dropout_mask)
    dx = product(dy, W)  # (M, O) @ (O, I) -> (M, I)
    dx += dx_lora
    return unrows(dx, shape), dB
