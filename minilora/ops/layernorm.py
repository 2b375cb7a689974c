"""Layer normalisation, y = gain * xhat + bias with xhat = (x - mean) / sqrt(var + eps) over the last axis.

Derivation. With s = 1 / sqrt(var + eps), xc = x - mean and xhat = s xc, over C channels of one row; dxhat = dy * gain:

    var depends on x through xc:   ds/dx_j = -s^3 xc_j / C        (because sum_i xc_i = 0)
    dx_j = s (dxhat_j - mean(dxhat)) + sum_i dxhat_i xc_i ds/dx_j
         = s (dxhat_j - mean(dxhat) - xhat_j mean(dxhat * xhat))

In words: remove from dxhat its components along the two directions that normalisation does not see, a shift and
(exactly only for eps = 0) a stretch.

The mean is subtracted twice. A float32 mean of large numbers has a rounding error, which is the same for the whole row;
the mean of what is left is that error.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.ops.rows import rows


class LayerNormCache(NamedTuple):
    xhat: Array  # (..., C)
    inv_std: Array  # (..., 1)
    gain: Array  # (C,)
    frozen: tuple[str, ...] = ()  # "gain", "bias": those whose gradients the engine leaves out


def layernorm_forward(x: Array, gain: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, LayerNormCache]:
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
    xp = get_xp(x=x, gain=gain, bias=bias)
    xc = x - x.mean(axis=-1, keepdims=True)  # (..., C)
    xc = xc - xc.mean(axis=-1, keepdims=True)  # (..., C)
    var = (xc * xc).mean(axis=-1, keepdims=True)  # (..., 1)
    inv_std = 1.0 / xp.sqrt(var + float(eps))  # (..., 1)
    xhat = xc * inv_std  # (..., C)
    y = gain * xhat + bias
    return y, LayerNormCache(xhat, inv_std, gain)


def layernorm_backward(dy: Array, cache: LayerNormCache) -> tuple[Array, Array, Array]:
    """Gradients with respect to x, (..., C), gain and bias, (C,)."""
    xhat, inv_std, gain, _ = cache
    # forward: y = gain * xhat + bias   so
    dxhat = dy * gain  # (..., C)
    dgain = rows(dy * xhat).sum(axis=0)  # (M, C) -> (C,)
    dbias = rows(dy).sum(axis=0)  # (M, C) -> (C,)
    # forward: xhat = (x - mean) * inv_std   so
    mean_dxhat = dxhat.mean(axis=-1, keepdims=True)  # (..., 1)
    mean_dxhat_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)  # (..., 1)
    dx = inv_std * (dxhat - mean_dxhat - xhat * mean_dxhat_xhat)  # (..., C)
    return dx, dgain, dbias
