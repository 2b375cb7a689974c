"""DoRA's linear map (Liu et al., 2024): each row's direction is that of W + delta_W, its length m is learned.

    V = W + scale B A                             (O, I)    the direction, not normalised
    W' = m V / norm,   norm_o = ||V_o||           (O, I)    every row o of W' has the length m_o
    y = x W'^T + bias = gain * u + bias           with  u = x W^T + scale (x A^T) B^T  and  gain = m / norm, (O,)

Derivation. With h = x A^T and sums over all rows of x and dy,

    dgain = sum of dy * u         dm = dgain / norm
    du = dy * gain                from here on LoRA's own gradients (`ops/lora_linear.py`), with du for dy
    dnorm = -dgain m / norm^2     if norm is not a constant:  d norm_o / d V_o = V_o / norm_o,  so that
    dV = c V,  c = dnorm / norm   (O, 1) * (O, I), and V = W + scale B A gives  dA += scale B^T dV,  dB += scale dV A^T

The paper (section 4.3) treats norm as a constant in the backward, to save memory, and so does PEFT: pass the array
`norm` to do the same. Without it, the op computes the norm and returns the exact gradient.

A zero row of V has no direction, and the formula gives 0 / 0. Here its direction is zero: that row of W' is zero, y is
bias there, and no gradient flows through it. (PEFT gives NaN.) In the code, such a row is divided by infinity.
"""

import math
from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.ops.rows import rows


class DoRALinearCache(NamedTuple):
    x: Array  # (..., I)   the input of A: x * dropout_mask, if there is one
    h: Array  # (..., r)
    u: Array  # (..., O)
    W: Array  # (O, I)
    A: Array  # (r, I)
    B: Array  # (O, r)
    m: Array  # (O,)
    norm: Array  # (O,), infinite for a row of zeros
    V: Array | None  # (O, I), or None where norm is a constant
    scale: float
    dropout_mask: Array | None = None  # (..., I)


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
    dropout_mask : ndarray of shape (..., I), optional
        For LoRA's branch: 0 where an input is dropped, 1 / (1 - p) elsewhere.
    norm : ndarray of shape (O,), optional
        A constant to divide by, such as `dora_norm` returns. If not given, it is computed, and differentiated.

    Returns
    -------
    y : ndarray of shape (..., O)
    cache : DoRALinearCache
    """
    xp = get_xp(x=x, W=W, bias=bias, A=A, B=B, m=m, dropout_mask=dropout_mask, norm=norm)
    scale = float(scale)  # a NumPy scalar would turn float32 into float64
    V = W + scale * (B @ A) if norm is None else None  # (O, I)
    norm = row_norm(V) if norm is None else norm  # (O,)
    norm = xp.where(norm != 0, norm, math.inf)  # (O,)
    x_lora = x if dropout_mask is None else x * dropout_mask  # (..., I)
    h = x_lora @ A.T  # (..., I) @ (I, r) -> (..., r)
    u = x @ W.T + scale * (h @ B.T)  # (..., I) @ (I, O) + (..., r) @ (r, O) -> (..., O)
    y = (m / norm) * u
    if bias is not None:
        y = y + bias
    return y, DoRALinearCache(x_lora, h, u, W, A, B, m, norm, V, scale, dropout_mask)


def dora_norm(W: Array, A: Array, B: Array, scale: float) -> Array:
    """The divisor of m, (O,): the norm of each row of W + scale B A; infinite for a row of zeros."""
    norm = row_norm(W + float(scale) * (B @ A))
    return get_xp(norm=norm).where(norm != 0, norm, math.inf)


def row_norm(V: Array) -> Array:
    """The Euclidean norm of each row, (O, I) -> (O,)."""
    return get_xp(V=V).sqrt((V * V).sum(axis=-1))


def dora_linear_backward(dy: Array, cache: DoRALinearCache) -> tuple[Array, Array, Array, Array]:
    """Gradients with respect to x, A, B and m; W and bias are constants."""
    x, h, u, W, A, B, m, norm, V, scale, dropout_mask = cache
    # forward: y = gain * u + bias, gain = m / norm   so
    dgain = (rows(dy) * rows(u)).sum(axis=0)  # (M, O) -> (O,)
    dm = dgain / norm
    du = (m / norm) * dy  # (..., O)
    # forward: u = ... + scale h B^T   so
    dh = scale * (du @ B)  # (..., O) @ (O, r) -> (..., r)
    dB = scale * (rows(du).T @ rows(h))  # (O, M) @ (M, r) -> (O, r)
    # forward: h = x A^T   so
    dA = rows(dh).T @ rows(x)  # (r, M) @ (M, I) -> (r, I)
    dx_lora = dh @ A if dropout_mask is None else (dh @ A) * dropout_mask  # (..., I)
    dx = du @ W + dx_lora  # (..., O) @ (O, I) -> (..., I)
    if V is not None:
        # forward: gain = m / norm, norm = ||V||, V = W + scale B A   so
        dV = (-dgain * m / norm**3)[:, None] * V  # (O, 1) * (O, I)
        dB = dB + scale * (dV @ A.T)  # (O, I) @ (I, r) -> (O, r)
        dA = dA + scale * (B.T @ dV)  # (r, O) @ (O, I) -> (r, I)
    return dx, dA, dB, dm
