"""VeRA's linear map (Kopiczko et al., 2023): A and B drawn once and shared by all layers; two vectors are trained.

    y = x W^T + bias + b * ((d * (x A^T)) B^T)        the paper's equation 2, h = W0 x + Lambda_b B Lambda_d A x

Lambda_b and Lambda_d are diagonal, so a product with them scales: delta_W_oi = b_o sum_k B_ok d_k A_ki. W is (O, I), A
(r, I), B (O, r), all frozen; d (r,) and b (O,) are learned.

Derivation. With h = x A^T, u = d * h, v = u B^T, and sums over all rows of x and dy,

    db = sum of dy * v         (O,)
    dv = b * dy                (..., O)
    du = dv B                  (..., r)
    dd = sum of du * h         (r,)
    dh = d * du                (..., r)
    dx = dy W + dh A           (..., I)     x is used twice; it is not kept, because A is a constant

With the full gradient G = dy^T x, dd_k = (b * B_k)^T G A_k and db_o = G_o A^T diag(d) B_o: numbers, where LoRA has
vectors. b starts at 0, so that delta_W does, and then dd = 0 while db is not.

Dropout acts only on the input of this branch: h = (x * dropout_mask) A^T, and dx = dy W + (dh A) * dropout_mask.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device
from minilora.ops.rows import rows


class VeRALinearCache(NamedTuple):
    h: Array  # (..., r)
    v: Array  # (..., O)
    W: Array  # (O, I)
    A: Array  # (r, I)
    B: Array  # (O, r)
    d: Array  # (r,)
    b: Array  # (O,)
    dropout_mask: Array | None = None  # (..., I)


def vera_linear_forward(
    x: Array, W: Array, bias: Array | None, A: Array, B: Array, d: Array, b: Array, dropout_mask: Array | None = None
) -> tuple[Array, VeRALinearCache]:
    """y = x W^T + bias + b * ((d * (x A^T)) B^T), (..., I) -> (..., O); of the arrays, x, d and b have a gradient."""
    check_same_device(x=x, W=W, bias=bias, A=A, B=B, d=d, b=b, dropout_mask=dropout_mask)
    x_vera = x if dropout_mask is None else x * dropout_mask  # (..., I)
    h = x_vera @ A.T  # (..., I) @ (I, r) -> (..., r)
    v = (d * h) @ B.T  # (..., r) @ (r, O) -> (..., O)
    y = x @ W.T + b * v  # (..., O)
    if bias is not None:
        y = y + bias
    return y, VeRALinearCache(h, v, W, A, B, d, b, dropout_mask)


def vera_linear_backward(dy: Array, cache: VeRALinearCache) -> tuple[Array, Array, Array]:
    """Gradients with respect to x, d and b; W, bias, A and B are constants."""
    h, v, W, A, B, d, b, dropout_mask = cache
    # forward: y = ... + b * v   so
    db = (rows(dy) * rows(v)).sum(axis=0)  # (M, O) -> (O,)
    dv = b * dy  # (..., O)
    # forward: v = u B^T, u = d * h   so
    du = dv @ B  # (..., O) @ (O, r) -> (..., r)
    dd = (rows(du) * rows(h)).sum(axis=0)  # (M, r) -> (r,)
    dh = d * du  # (..., r)
    # forward: h = x A^T   so
    dx_vera = dh @ A if dropout_mask is None else (dh @ A) * dropout_mask  # (..., I)
    dx = dy @ W + dx_vera  # (..., O) @ (O, I) -> (..., I)
    return dx, dd, db
