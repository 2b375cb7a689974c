"""DoRA's linear map (`ops/dora_linear.py`) over rows, with sums in place and norms without the array of squares."""

import math

from minilora.arrays.backend import Array, get_xp
from minilora.arrays.products import product
from minilora.arrays.reductions import vecdot
from minilora.ops import dora_linear as page
from minilora.ops.dora_linear import DoRALinearCache
from minilora.ops.fast.row_products import rows_times_transposed, unrows
from minilora.ops.plain import engine_of
from minilora.ops.rows import rows


@engine_of(page.dora_linear_forward)
def dora_linear_forward(
    x: Array,
    W: Array,
    bias: Array | None,
    A: Array,
    B: Array,
    m: Array,
    scale: float,
    dropout_mask: Array | None = None,
    norm: Array | None = None,
) -> tuple[Array, DoRALinearCache]:
    xp = get_xp(x=x, W=W, bias=bias, A=A, B=B, m=m, dropout_mask=dropout_mask, norm=norm)
    scale = float(scale)
    V = W + scale * (B @ A) if norm is None else None  # (O, I)
    norm = row_norm(V) if norm is None else norm  # (O,)
    norm = xp.where(norm != 0, norm, math.inf)  # (O,)
    u = rows_times_transposed(rows(x), W)  # (M, I) @ (I, O) -> (M, O)
    if dropout_mask is not None:
        x = x * dropout_mask
    h = rows(x) @ A.T  # (M, I) @ (I, r) -> (M, r)
    u += (scale * h) @ B.T  # (M, r) @ (r, O) -> (M, O)
    y = u * (m / norm)
    if bias is not None:
        y += bias
    cache = DoRALinearCache(x, unrows(h, x.shape), unrows(u, x.shape), W, A, B, m, norm, V, scale, dropout_mask)
    return unrows(y, x.shape), cache


@engine_of(page.dora_norm)
def dora_norm(W: Array, A: Array, B: Array, scale: float) -> Array:
    norm = row_norm(W + float(scale) * (B @ A))
    return get_xp(norm=norm).where(norm != 0, norm, math.inf)


@engine_of(page.row_norm)
def row_norm(V: Array) -> Array:
    return get_xp(V=V).sqrt(vecdot(V, V))


@engine_of(page.dora_linear_backward)
def dora_linear_backward(dy: Array, cache: DoRALinearCache) -> tuple[Array, Array, Array, Array]:
    x, h, u, W, A, B, m, norm, V, scale, dropout_mask = cache
    shape, dy, x, h = dy.shape, rows(dy), rows(x), rows(h)
    # forward: y = gain * u + bias, gain = m / norm   so
    dgain = get_xp(dy=dy).einsum("mo,mo->o", dy, rows(u))  # (O,)
    dm = dgain / norm
    du = dy * (m / norm)  # (M, O)
    # forward: u = ... + scale h B^T   so
    dh = scale * (du @ B)  # (M, O) @ (O, r) -> (M, r)
    dB = scale * (du.T @ h)  # (O, M) @ (M, r) -> (O, r)
    # forward: h = x A^T   so
    dA = dh.T @ x  # (r, M) @ (M, I) -> (r, I)
    dx_lora = dh @ A  # (M, r) @ (r, I) -> (M, I)
    if dropout_mask is not None:
        dx_lora *= rows(dropout_mask)
    dx = product(du, W)  # (M, O) @ (O, I) -> (M, I)
    dx += dx_lora
    if V is not None:
        # forward: gain = m / norm, norm = ||V||, V = W + scale B A   so
        dV = (-dgain * m / (norm * norm * norm))[:, None] * V  # (O, 1) * (O, I)
        dB += scale * (dV @ A.T)  # (O, I) @ (I, r) -> (O, r)
        dA += scale * (B.T @ dV)  # (r, O) @ (O, I) -> (r, I)
    return unrows(dx, shape), dA, dB, dm
