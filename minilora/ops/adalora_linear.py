"""AdaLoRA's linear map (Zhang et al., 2023): delta_W in the form of a singular value decomposition, to be pruned.

    y = x W^T + bias + scale ((lam * (x Q^T)) P^T)        the paper's equation 3, W = W0 + P Lambda Q, times scale

P (O, r) and Q (r, I) are the singular vectors, lam (r,) the diagonal of Lambda; `ops/orthogonality.py` keeps them close
to orthonormal. One triplet (P_k, lam_k, Q_k) is switched off by lam_k = 0, and its vectors stay for later.

Derivation. With h = x Q^T, u = lam * h, and sums over all rows of x and dy,

    dP = scale dy^T u             (O, r)
    du = scale dy P               (..., r)
    dlam = sum of du * h          (r,)
    dh = lam * du                 (..., r)
    dQ = dh^T x                   (r, I)
    dx = dy W + dh Q              (..., I)    x is used twice, so its gradient is a sum

With G = dy^T x, dlam_k = scale P_k^T G Q_k: how far the full gradient goes along the triplet. While lam_k = 0, dP_k and
dQ_k are zero, and dlam_k is not, so a triplet that was switched off can come back.

Dropout acts only on the input of this branch: h = (x * dropout_mask) Q^T, dQ = dh^T (x * dropout_mask), and the second
term of dx is (dh Q) * dropout_mask.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device
from minilora.ops.rows import rows


class AdaLoRALinearCache(NamedTuple):
    x: Array  # (..., I)   the input of Q: x * dropout_mask, if there is one
    h: Array  # (..., r)
    W: Array  # (O, I)
    P: Array  # (O, r)
    lam: Array  # (r,)
    Q: Array  # (r, I)
    scale: float
    dropout_mask: Array | None = None  # (..., I)


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
    """y = x W^T + bias + scale ((lam * (x Q^T)) P^T), (..., I) -> (..., O); W and bias are frozen."""
    check_same_device(x=x, W=W, bias=bias, P=P, lam=lam, Q=Q, dropout_mask=dropout_mask)
    scale = float(scale)  # a NumPy scalar would turn float32 into float64
    x_lora = x if dropout_mask is None else x * dropout_mask  # (..., I)
    h = x_lora @ Q.T  # (..., I) @ (I, r) -> (..., r)
    y = x @ W.T + scale * ((lam * h) @ P.T)  # (..., I) @ (I, O) + (..., r) @ (r, O) -> (..., O)
    if bias is not None:
        y = y + bias
    return y, AdaLoRALinearCache(x_lora, h, W, P, lam, Q, scale, dropout_mask)


def adalora_linear_backward(dy: Array, cache: AdaLoRALinearCache) -> tuple[Array, Array, Array, Array]:
    """Gradients with respect to x, P, lam and Q; W and bias are constants."""
    x, h, W, P, lam, Q, scale, dropout_mask = cache
    # forward: y = ... + scale u P^T, u = lam * h   so
    dP = scale * (rows(dy).T @ rows(lam * h))  # (O, M) @ (M, r) -> (O, r)
    du = scale * (dy @ P)  # (..., O) @ (O, r) -> (..., r)
    dlam = (rows(du) * rows(h)).sum(axis=0)  # (M, r) -> (r,)
    dh = lam * du  # (..., r)
    # forward: h = x Q^T   so
    dQ = rows(dh).T @ rows(x)  # (r, M) @ (M, I) -> (r, I)
    dx_lora = dh @ Q if dropout_mask is None else (dh @ Q) * dropout_mask  # (..., I)
    dx = dy @ W + dx_lora  # (..., O) @ (O, I) -> (..., I)
    return dx, dP, dlam, dQ
