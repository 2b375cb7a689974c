"""LoRA's linear map, y = x W^T + bias + scale (x A^T) B^T, with W and bias frozen.

The paper's equation 3, h = W0 x + delta_W x = W0 x + B A x with delta_W scaled by alpha / r, is written for a column x.
Our x holds rows, so each product is transposed: x W^T for W x, and (x A^T) B^T for B A x. W is (O, I) as in the paper.

Derivation. Let h = x A^T, so that y = x W^T + bias + scale h B^T. This is the linear map of `ops/linear.py` twice over:

    dB = scale dy^T h          (O, r)      the gradient of a weight is  (upstream)^T (input)
    dh = scale dy B            (..., r)
    dA = dh^T x                (r, I)
    dx = dy W + dh A           (..., I)    x is used twice, so its gradient is a sum

With the gradient of full fine-tuning, G = dy^T x (O, I), the first and third line read dB = scale G A^T and
dA = scale B^T G: LoRA's gradients are projections of the full one. While B = 0, dA = 0 and dB is not.

Dropout acts on the input of LoRA's branch alone. With mask = keep / (1 - p), h = (x * mask) A^T, and so
dA = dh^T (x * mask) and dx = dy W + (dh A) * mask.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp
from minilora.ops.rows import rows, rows_times_transposed, unrows


class LoRALinearCache(NamedTuple):
    x: Any  # (..., I)   what entered LoRA's branch: x, or x * mask where there is dropout
    h: Any  # (..., r)
    W: Any  # (O, I)
    A: Any  # (r, I)
    B: Any  # (O, r)
    scale: float
    mask: Any = None  # (..., I) or None


def lora_linear_forward(x, W, bias, A, B, scale, mask=None):
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
    mask : ndarray of shape (..., I), optional
        Dropout's mask for LoRA's branch: 0 where an input is dropped, 1 / (1 - p) elsewhere.

    Returns
    -------
    y : ndarray of shape (..., O)
    cache : LoRALinearCache
    """
    get_xp(x=x, W=W, bias=bias, A=A, B=B, mask=mask)
    scale = float(scale)  # a NumPy scalar would turn float32 into float64
    y = rows_times_transposed(rows(x), W)  # x W^T, (M, I), (O, I) -> (M, O)
    if bias is not None:
        y += bias
    if mask is not None:
        x = x * mask
    h = rows(x) @ A.T  # (M, I) @ (I, r) -> (M, r)
    y += (scale * h) @ B.T  # (M, r) @ (r, O) -> (M, O)
    return unrows(y, x.shape), LoRALinearCache(x, unrows(h, x.shape), W, A, B, scale, mask)


def lora_linear_backward(dy, cache):
    """Gradients with respect to x, A and B; W and bias are constants, which is why no dW is returned."""
    dA, dB, dh = _dA_dB_dh(dy, cache)
    # forward: y = x @ W.T + ... and h = x @ A.T   so
    dx_lora = dh @ cache.A  # (M, r) @ (r, I) -> (M, I)
    if cache.mask is not None:
        dx_lora *= rows(cache.mask)
    dx = rows(dy) @ cache.W  # (M, O) @ (O, I) -> (M, I)
    dx += dx_lora
    return unrows(dx, dy.shape), dA, dB


def lora_linear_dA_dB(dy, cache):
    """Gradients with respect to A and B alone: for the lowest adapted layer, below which nothing learns."""
    dA, dB, _ = _dA_dB_dh(dy, cache)
    return dA, dB


def _dA_dB_dh(dy, cache):
    dy, x, h = rows(dy), rows(cache.x), rows(cache.h)
    # forward: y = ... + scale * h @ B.T   so
    dh = cache.scale * (dy @ cache.B)  # (M, O) @ (O, r) -> (M, r)
    dB = cache.scale * (dy.T @ h)  # (O, M) @ (M, r) -> (O, r)   not zero at the start, for h is not
    # forward: h = x @ A.T   so
    dA = dh.T @ x  # (r, M) @ (M, I) -> (r, I)   zero while B is zero
    return dA, dB, dh
