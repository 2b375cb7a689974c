"""Root-mean-square normalisation, y = gain * xhat with xhat = x / sqrt(mean(x^2) + eps) over the last axis.

(Zhang and Sennrich, 2019, "Root Mean Square Layer Normalization", equation 4; eps as in Llama.)

Derivation. With s = 1 / sqrt(mean(x^2) + eps) and xhat = s x, over C channels of one row; dxhat = dy * gain:

    s depends on x:   ds/dx_j = -s^3 x_j / C
    dx_j = s dxhat_j + sum_i dxhat_i x_i ds/dx_j
         = s (dxhat_j - xhat_j mean(dxhat * xhat))

In words: remove from dxhat its component along xhat, because (exactly only for eps = 0) a stretch of x is not seen. A
shift of x is seen, which is why LayerNorm's term for the mean is missing here.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.ops.rows import rows


class RMSNormCache(NamedTuple):
    xhat: Array  # (..., C)
    inv_rms: Array  # (..., 1)
    gain: Array  # (C,)
    frozen: tuple[str, ...] = ()  # "gain", if the engine is to leave its gradient out


def rmsnorm_forward(x: Array, gain: Array, eps: float = 1e-5) -> tuple[Array, RMSNormCache]:
    """y = gain * x / sqrt(mean(x^2) + eps).

    Parameters
    ----------
    x : ndarray of shape (..., C)
    gain : ndarray of shape (C,)
    eps : float

    Returns
    -------
    y : ndarray of shape (..., C)
    cache : RMSNormCache
    """
    xp = get_xp(x=x, gain=gain)
    inv_rms = 1.0 / xp.sqrt((x * x).mean(axis=-1, keepdims=True) + float(eps))  # (..., 1)
    xhat = x * inv_rms  # (..., C)
    y = gain * xhat  # (..., C)
    return y, RMSNormCache(xhat, inv_rms, gain)


def rmsnorm_backward(dy: Array, cache: RMSNormCache) -> tuple[Array, Array]:
    """Gradients with respect to x, (..., C), and gain, (C,)."""
    xhat, inv_rms, gain, _ = cache
    # forward: y = gain * xhat   so
    dxhat = dy * gain  # (..., C)
    dgain = rows(dy * xhat).sum(axis=0)  # (M, C) -> (C,)
    # forward: xhat = x * inv_rms   so
    mean_dxhat_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)  # (..., 1)
    dx = inv_rms * (dxhat - xhat * mean_dxhat_xhat)  # (..., C)
    return dx, dgain
