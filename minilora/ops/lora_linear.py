"""LoRA's linear map, y = x W^T + bias + scale (x A^T) B^T, with W and bias frozen.

The paper's equation 3, h = W0 x + delta_W x = W0 x + B A x with delta_W scaled by alpha / r, is written for a column x.
Our x holds rows, so each product is transposed: x W^T for W x, and (x A^T) B^T for B A x. W is (O, I) as in the paper.

Derivation. Let h = x A^T, so that y = x W^T + bias + scale h B^T. This is the linear map of `ops/linear.py` twice over:

    dB = scale dy^T h          (O, r)      the gradient of a weight is  (upstream)^T (input)
    dh = scale dy B            (..., r)
    dA = dh^T x                (r, I)
    dx = dy W + dh A           (..., I)    x is used twice, so its gradient is a sum

With the gradient of full fine-tuning, G = dy^T x (O, I), the first and third lines read dB = scale G A^T and
dA = scale B^T G: LoRA's gradients are projections of the full one. While B = 0, dA = 0 and dB is not.

Dropout acts only on the input of LoRA's branch: h = (x * dropout_mask) A^T, and so dA = dh^T (x * dropout_mask) and
dx = dy W + (dh A) * dropout_mask.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device
from minilora.ops.rows import rows


class LoRALinearCache(NamedTuple):
    x: Array  # (..., I)   the input of A: x * dropout_mask, if there is one
    h: Array  # (..., r)
    W: Array  # (O, I)
    A: Array  # (r, I)
    B: Array  # (O, r)
    scale: float
    dropout_mask: Array | None = None  # (..., I)


def lora_linear_forward(
    x: Array, W: Array, bias: Array | None, A: Array, B: Array, scale: float, dropout_mask: Array | None = None
) -> tuple[Array, LoRALinearCache]:
    """y = x W^T + bias + scale (x A^T) B^T. delta_W = scale B A is never formed.

    Parameters
    ----------
    x : ndarray of shape (..., I)
    W : ndarray of shape (O, I)
        Frozen.
    bias : ndarray of shape (O,) or None
        Frozen.
    A : ndarray of shape (r, I)
    B : ndarray of shape (O, r)
    scale : float
        alpha / r.
    dropout_mask : ndarray of shape (..., I), optional
        For LoRA's branch: 0 where an input is dropped, 1 / (1 - p) elsewhere.

    Returns
    -------
    y : ndarray of shape (..., O)
    cache : LoRALinearCache
    """
    check_same_device(x=x, W=W, bias=bias, A=A, B=B, dropout_mask=dropout_mask)
    scale = float(scale)  # a NumPy scalar would turn float32 into float64
    x_lora = x if dropout_mask is None else x * dropout_mask  # (..., I)
    h = x_lora @ A.T  # (..., I) @ (I, r) -> (..., r)
    y = x @ W.T + scale * (h @ B.T)  # (..., I) @ (I, O) + (..., r) @ (r, O) -> (..., O)
    if bias is not None:
        y = y + bias
    return y, LoRALinearCache(x_lora, h, W, A, B, scale, dropout_mask)


def lora_linear_backward(dy: Array, cache: LoRALinearCache) -> tuple[Array, Array, Array]:
    """Gradients of y = x W^T + bias + scale (x A^T) B^T with respect to x, A and B; W and bias are constants."""
    x, h, W, A, B, scale, dropout_mask = cache
    # forward: y = ... + scale h B^T     so
    dh = scale * (dy @ B)  # (..., O) @ (O, r) -> (..., r)
    dB = scale * (rows(dy).T @ rows(h))  # (O, M) @ (M, r) -> (O, r)   not zero at the start, because h = x A^T is not
    # forward: h = x A^T                 so
    dA = rows(dh).T @ rows(x)  # (r, M) @ (M, I) -> (r, I)   zero while B is zero
    dx_lora = dh @ A if dropout_mask is None else (dh @ A) * dropout_mask  # (..., I)
    dx = dy @ W + dx_lora  # (..., O) @ (O, I) -> (..., I)
    return dx, dA, dB
