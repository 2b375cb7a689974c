"""Layer normalisation, y = gain * xhat + bias with xhat = (x - mean) / sqrt(var + eps) over the last axis.

Derivation. With s = 1 / sqrt(var + eps), xc = x - mean and xhat = s xc, over C channels of one row; dxhat = dy * gain:

    var depends on x through xc:   ds/dx_j = -s^3 xc_j / C        (for sum_i xc_i = 0)
    dx_j = s (dxhat_j - mean(dxhat)) + sum_i dxhat_i xc_i ds/dx_j
         = s (dxhat_j - mean(dxhat) - xhat_j mean(dxhat * xhat))

In words: remove from dxhat what lies along the two directions that normalisation does not see, a shift and (exactly so
only for eps = 0) a stretch.
"""

import math
from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp
from minilora.arrays.kernels import fused
from minilora.ops.rows import row_dot, row_mean, rows


class LayerNormCache(NamedTuple):
    xhat: Any  # (..., C)
    inv_std: Any  # (..., 1)
    gain: Any  # (C,)


def layernorm_forward(x, gain, bias, eps=1e-5):
    """y = gain * (x - mean) / sqrt(var + eps) + bias.

    Parameters
    ----------
    x : ndarray of shape (..., C)
    gain, bias : ndarray of shape (C,)
    eps : float

    Returns
    -------
    y : ndarray of shape (..., C)
    cache : LayerNormCache
    """
    get_xp(x=x, gain=gain, bias=bias)
    y, xhat, inv_std = _normalise(x, gain, bias, float(eps))
    return y, LayerNormCache(xhat, inv_std, gain)


@fused(
    "x[...; C], gain[C], bias[C], eps -> y[...; C], xhat[...; C], inv_std[...; 1]",
    """
    const real mean = SUM(c, x[c]) / C;
    const real var = SUM(c, (x[c] - mean) * (x[c] - mean)) / C;
    const real s = 1 / sqrt(var + eps);
    *inv_std = s;
    EACH(c) {
        xhat[c] = (x[c] - mean) * s;
        y[c] = xhat[c] * gain[c] + bias[c];
    }
    """,
)
def _normalise(x, gain, bias, eps):
    """y, xhat and inv_std."""
    xp = get_xp(x=x)
    xc = x - row_mean(x)  # (..., C)
    var = row_dot(xc, xc) / x.shape[-1]  # (..., 1)
    inv_std = 1.0 / xp.sqrt(var + eps)
    xhat = xp.multiply(xc, inv_std, out=xc)
    y = xhat * gain
    y += bias
    return y, xhat, inv_std


def layernorm_backward(dy, cache):
    """Gradients with respect to x, gain and bias."""
    return layernorm_dx(dy, cache), layernorm_dgain(dy, cache), layernorm_dbias(dy, cache)


def layernorm_dx(dy, cache):
    """dx = inv_std * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat)),  (..., C)"""
    return _dx(dy, *cache)


@fused(
    "dy[...; C], xhat[...; C], inv_std[...; 1], gain[C] -> dx[...; C]",
    """
    const real mean_dxhat = SUM(c, dy[c] * gain[c]) / C;
    const real mean_dxhat_xhat = SUM(c, dy[c] * gain[c] * xhat[c]) / C;
    EACH(c) dx[c] = *inv_std * (dy[c] * gain[c] - mean_dxhat - xhat[c] * mean_dxhat_xhat);
    """,
)
def _dx(dy, xhat, inv_std, gain):
    # forward: y = xhat * gain + bias   so
    dx = dy * gain  # this is dxhat, (..., C)
    mean_dxhat = row_mean(dx)  # (..., 1)
    mean_dxhat_xhat = row_dot(dx, xhat) / dx.shape[-1]  # (..., 1)
    # forward: xhat = (x - mean) * inv_std   so
    dx -= mean_dxhat
    dx -= xhat * mean_dxhat_xhat
    dx *= inv_std
    return dx


def layernorm_dgain(dy, cache):
    """forward: y = xhat * gain + bias   so   dgain = sum over rows of dy * xhat,  (C,)"""
    xp = get_xp(dy=dy)
    return xp.einsum("mc,mc->c", rows(dy), rows(cache.xhat))


def layernorm_dbias(dy, cache):
    """forward: y = xhat * gain + bias   so   dbias = sum over rows of dy,  (C,)"""
    xp = get_xp(dy=dy)
    M = math.prod(dy.shape[:-1])
    return xp.ones(M, dtype=dy.dtype) @ rows(dy)
