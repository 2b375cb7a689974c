"""DoRA's linear map (Liu et al., 2024): the direction of each row of W + delta_W by LoRA, its length m learned apart.

    V = W + scale B A                             (O, I)    the direction, not normalised
    W' = m V / norm,   norm_o = ||V_o||           (O, I)    every row o of W' has the length m_o
    y = x W'^T + bias = gain * u + bias           with  u = x W^T + scale (x A^T) B^T  and  gain = m / norm, (O,)

Derivation. With h = x A^T and sums over all rows of x and dy,

    dgain = sum of dy * u         dm = dgain / norm
    du = dy * gain                from here on LoRA's own gradients (`ops/lora_linear.py`), with du for dy
    dnorm = -dgain m / norm^2     where norm is not a constant:  d norm_o / d V_o = V_o / norm_o,  so that
    dV = c V,  c = dnorm / norm   (O, 1) * (O, I), and V = W + scale B A gives  dA += scale B^T dV,  dB += scale dV A^T

The paper (section 4.3) treats norm as a constant in the backward, to save memory, and so does PEFT: pass the array
`norm`, and it is one. Without it, the op computes it and returns the exact gradient.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp, vecdot
from minilora.ops.rows import rows, rows_times_transposed, unrows


class DoRALinearCache(NamedTuple):
    x: Any  # (..., I)   what entered LoRA's branch: x, or x * mask where there is dropout
    h: Any  # (..., r)
    u: Any  # (..., O)
    W: Any  # (O, I)
    A: Any  # (r, I)
    B: Any  # (O, r)
    m: Any  # (O,)
    norm: Any  # (O,)
    V: Any  # (O, I), or None where norm is a constant
    scale: float
    mask: Any = None  # (..., I) or None


def dora_linear_forward(x, W, bias, A, B, m, scale, mask=None, norm=None):
    """y = (m / ||W + scale B A||) * (x W^T + scale (x A^T) B^T) + bias, with the norm of each row.

    Parameters
    ----------
    x : ndarray of shape (..., I)
    W : ndarray of shape (O, I)
        Frozen.
    bias : ndarray of shape (O,) or None
        Frozen.
    A : ndarray of shape (r, I)
    B : ndarray of shape (O, r)
    m : ndarray of shape (O,)
        The lengths of the rows of W'.
    scale : float
        alpha / r.
    mask : ndarray of shape (..., I), optional
        Dropout's mask for LoRA's branch: 0 where an input is dropped, 1 / (1 - p) elsewhere.
    norm : ndarray of shape (O,), optional
        A constant to divide by, such as `dora_norm` gives. If not given, it is computed, and differentiated.

    Returns
    -------
    y : ndarray of shape (..., O)
    cache : DoRALinearCache
    """
    get_xp(x=x, W=W, bias=bias, A=A, B=B, m=m, mask=mask, norm=norm)
    scale = float(scale)  # a NumPy scalar would turn float32 into float64
    V = None
    if norm is None:
        V = W + scale * (B @ A)  # (O, I)
        norm = row_norm(V)  # (O,)
    u = rows_times_transposed(rows(x), W)  # x W^T, (M, I), (O, I) -> (M, O)
    if mask is not None:
        x = x * mask
    h = rows(x) @ A.T  # (M, I) @ (I, r) -> (M, r)
    u += (scale * h) @ B.T  # (M, r) @ (r, O) -> (M, O)
    y = u * (m / norm)
    if bias is not None:
        y += bias
    cache = DoRALinearCache(x, unrows(h, x.shape), unrows(u, x.shape), W, A, B, m, norm, V, scale, mask)
    return unrows(y, x.shape), cache


def dora_norm(W, A, B, scale):
    """The norm of each row of W + scale B A, (O,)."""
    return row_norm(W + float(scale) * (B @ A))


def row_norm(V):
    """The Euclidean norm of each row, (O, I) -> (O,)."""
    xp = get_xp(V=V)
    return xp.sqrt(vecdot(V, V))


def dora_linear_backward(dy, cache):
    """Gradients with respect to x, A, B and m; W and bias are constants."""
    dA, dB, dm, du, dh = _dA_dB_dm_du_dh(dy, cache)
    # forward: u = x @ W.T + ... and h = x @ A.T   so
    dx_lora = dh @ cache.A  # (M, r) @ (r, I) -> (M, I)
    if cache.mask is not None:
        dx_lora *= rows(cache.mask)
    dx = du @ cache.W  # (M, O) @ (O, I) -> (M, I)
    dx += dx_lora
    return unrows(dx, dy.shape), dA, dB, dm


def dora_linear_dA_dB_dm(dy, cache):
    """Gradients with respect to A, B and m alone: for the lowest adapted layer, below which nothing learns."""
    return _dA_dB_dm_du_dh(dy, cache)[:3]


def _dA_dB_dm_du_dh(dy, cache):
    A, B, m, norm, V, scale = cache.A, cache.B, cache.m, cache.norm, cache.V, cache.scale
    xp = get_xp(dy=dy)
    dy, x, h, u = rows(dy), rows(cache.x), rows(cache.h), rows(cache.u)
    # forward: y = u * (m / norm) + bias   so
    dgain = xp.einsum("mo,mo->o", dy, u)  # (O,)
    dm = dgain / norm
    du = dy * (m / norm)  # (M, O)
    # forward: u = ... + scale * h @ B.T   so
    dh = scale * (du @ B)  # (M, O) @ (O, r) -> (M, r)
    dB = scale * (du.T @ h)  # (O, M) @ (M, r) -> (O, r)
    # forward: h = x @ A.T   so
    dA = dh.T @ x  # (r, M) @ (M, I) -> (r, I)
    if V is not None:
        # forward: gain = m / norm, norm = ||V|| and V = W + scale * B @ A   so
        dV = (-dgain * m / (norm * norm * norm))[:, None] * V  # (O, 1) * (O, I)
        dB += scale * (dV @ A.T)  # (O, I) @ (I, r) -> (O, r)
        dA += scale * (B.T @ dV)  # (r, O) @ (O, I) -> (r, I)
    return dA, dB, dm, du, dh
