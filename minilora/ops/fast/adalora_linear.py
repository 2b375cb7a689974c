"""AdaLoRA's linear map (`ops/adalora_linear.py`) over rows: LoRA's own, because P diag(lam) and Q are a B and an A."""

from minilora.arrays.backend import Array, get_xp
from minilora.arrays.products import product
from minilora.ops import adalora_linear as page
from minilora.ops.adalora_linear import AdaLoRALinearCache
from minilora.ops.fast.lora_linear import lora_linear_forward
from minilora.ops.fast.row_products import unrows
from minilora.ops.plain import engine_of
from minilora.ops.rows import rows


@engine_of(page.adalora_linear_forward)
def adalora_linear_forward(
    x: Array,
    W: Array,
    bias: Array | None,
    P: Array,
    lam: Array,
    Q: Array,
    scale: float,
    dropout_mask: Array | None = None,
) -> tuple[Array, AdaLoRALinearCache]:
    y, cache = lora_linear_forward.engine(x, W, bias, Q, P * lam, scale, dropout_mask)  # type: ignore[attr-defined]
    return y, AdaLoRALinearCache(cache.x, cache.h, W, P, lam, Q, cache.scale, dropout_mask)


@engine_of(page.adalora_linear_backward)
def adalora_linear_backward(dy: Array, cache: AdaLoRALinearCache) -> tuple[Array, Array, Array, Array]:
    x, h, W, P, lam, Q, scale, dropout_mask = cache
    shape, dy, x, h = dy.shape, rows(dy), rows(x), rows(h)
    # forward: y = ... + scale (lam * h) P^T   so
    dP = scale * (dy.T @ h) * lam  # (O, M) @ (M, r) -> (O, r)
    du = scale * (dy @ P)  # (M, O) @ (O, r) -> (M, r)
    dlam = get_xp(du=du).einsum("mr,mr->r", du, h)  # (r,)
    du *= lam
    # forward: h = x Q^T   so
    dQ = du.T @ x  # (r, M) @ (M, I) -> (r, I)
    dx_lora = du @ Q  # (M, r) @ (r, I) -> (M, I)
    if dropout_mask is not None:
        dx_lora *= rows(dropout_mask)
    dx = product(dy, W)  # (M, O) @ (O, I) -> (M, I)
    dx += dx_lora
    return unrows(dx, shape), dP, dlam, dQ
