"""LoRA-FA's linear map (Zhang et al., 2023): LoRA with A frozen, so that nothing as wide as x is kept for the backward.

    y = x W^T + bias + scale (x A^T) B^T           as in `ops/lora_linear.py`, with W, bias and A frozen

Derivation. With h = x A^T, and A a constant,

    dB = scale dy^T h         (O, r)
    dh = scale dy B           (..., r)
    dx = dy W + dh A          (..., I)      dA = dh^T x is the only one that needs x, and is not asked for

So the cache has h, r numbers a token, in place of x and h, I + r of them. What is learned is B alone, and the rows of
delta_W = scale B A stay in the row space of A, which was drawn once (the paper's section 3.1). With the full gradient
G = dy^T x, a step along dB = scale G A^T changes delta_W along scale^2 G A^T A: G's projection onto that space, times a
factor, if the rows of A are orthogonal and equally long, as random ones nearly are.

Dropout acts only on the input of this branch: h = (x * dropout_mask) A^T, and so dx = dy W + (dh A) * dropout_mask.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device
from minilora.ops.rows import rows


class LoRAFALinearCache(NamedTuple):
    h: Array  # (..., r)   and no x
    W: Array  # (O, I)
    A: Array  # (r, I)
    B: Array  # (O, r)
    scale: float
    dropout_mask: Array | None = None  # (..., I)


def lora_fa_linear_forward(
    x: Array, W: Array, bias: Array | None, A: Array, B: Array, scale: float, dropout_mask: Array | None = None
) -> tuple[Array, LoRAFALinearCache]:
    """y = x W^T + bias + scale (x A^T) B^T. Arguments are those of `lora_linear_forward`, and A is frozen, too.

    Returns
    -------
    y : ndarray of shape (..., O)
    cache : LoRAFALinearCache
    """
    check_same_device(x=x, W=W, bias=bias, A=A, B=B, dropout_mask=dropout_mask)
    scale = float(scale)  # a NumPy scalar would turn float32 into float64
    x_lora = x if dropout_mask is None else x * dropout_mask  # (..., I)
    h = x_lora @ A.T  # (..., I) @ (I, r) -> (..., r)
    y = x @ W.T + scale * (h @ B.T)  # (..., I) @ (I, O) + (..., r) @ (r, O) -> (..., O)
    if bias is not None:
        y = y + bias
    return y, LoRAFALinearCache(h, W, A, B, scale, dropout_mask)


def lora_fa_linear_backward(dy: Array, cache: LoRAFALinearCache) -> tuple[Array, Array]:
    """Gradients with respect to x and B; W, bias and A are constants."""
    h, W, A, B, scale, dropout_mask = cache
    # forward: y = ... + scale h B^T   so
    dB = scale * (rows(dy).T @ rows(h))  # (O, M) @ (M, r) -> (O, r)
    dh = scale * (dy @ B)  # (..., O) @ (O, r) -> (..., r)
    # forward: h = x A^T   so
    dx_lora = dh @ A if dropout_mask is None else (dh @ A) * dropout_mask  # (..., I)
    dx = dy @ W + dx_lora  # (..., O) @ (O, I) -> (..., I)
    return dx, dB
