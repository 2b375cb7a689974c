"""Layer normalisation (`ops/layernorm.py`) in few passes over memory, and as one kernel on a GPU."""

from minilora.arrays.backend import Array, check_same_device, get_xp
from minilora.arrays.kernels import fused
from minilora.arrays.reductions import constant_vector
from minilora.ops import layernorm as page
from minilora.ops.fast.row_products import row_dot, row_mean, sum_of_rows
from minilora.ops.layernorm import LayerNormCache
from minilora.ops.plain import engine_of
from minilora.ops.rows import rows


@engine_of(page.layernorm_forward)
def layernorm_forward(x: Array, gain: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, LayerNormCache]:
    check_same_device(x=x, gain=gain, bias=bias)
    y, xhat, inv_std = _normalise(x, gain, bias, float(eps))
    return y, LayerNormCache(xhat, inv_std, gain)


@engine_of(page.layernorm_backward)
def layernorm_backward(dy: Array, cache: LayerNormCache) -> tuple[Array, Array | None, Array | None]:
    xhat, inv_std, gain, frozen = cache
    # forward: y = gain * xhat + bias   so
    dgain = None if "gain" in frozen else get_xp(dy=dy).einsum("mc,mc->c", rows(dy), rows(xhat))  # (C,)
    dbias = None if "bias" in frozen else sum_of_rows(dy)  # (C,)
    return _dx(dy, xhat, inv_std, gain), dgain, dbias


@fused(
    "x[...; C], gain[C], bias[C], eps -> y[...; C], xhat[...; C], inv_std[...; 1]",
    """
    const real rounded = SUM(c, x[c]) / C;
    const real rest = SUM(c, x[c] - rounded) / C;
    const real var = SUM(c, (x[c] - rounded - rest) * (x[c] - rounded - rest)) / C;
    const real s = 1 / sqrt(var + eps);
    *inv_std = s;
    EACH(c) {
        xhat[c] = (x[c] - rounded - rest) * s;
        y[c] = xhat[c] * gain[c] + bias[c];
    }
    """,
)
def _normalise(x: Array, gain: Array, bias: Array, eps: float) -> tuple[Array, Array, Array]:
    """y, xhat and inv_std."""
    xp, C = get_xp(x=x), x.shape[-1]
    ones = constant_vector(xp, C, 1.0, x.dtype)
    xc = x - (x @ ones)[..., None] / C  # (..., C)
    xc -= (xc @ ones)[..., None] / C
    inv_std = xp.sqrt(C / (row_dot(xc, xc) + C * eps))  # (..., 1), which is 1 / sqrt(var + eps)
    xhat = xp.multiply(xc, inv_std, out=xc)
    y = xhat * gain
    y += bias
    return y, xhat, inv_std


@fused(
    "dy[...; C], xhat[...; C], inv_std[...; 1], gain[C] -> dx[...; C]",
    """
    const real mean_dxhat = SUM(c, dy[c] * gain[c]) / C;
    const real mean_dxhat_xhat = SUM(c, dy[c] * gain[c] * xhat[c]) / C;
    EACH(c) dx[c] = *inv_std * (dy[c] * gain[c] - mean_dxhat - xhat[c] * mean_dxhat_xhat);
    """,
)
def _dx(dy: Array, xhat: Array, inv_std: Array, gain: Array) -> Array:
    dx = dy * gain  # this is dxhat, (..., C)
    mean_dxhat = row_mean(dx)  # (..., 1)
    mean_dxhat_xhat = row_dot(dx, xhat) / dx.shape[-1]  # (..., 1)
    dx -= mean_dxhat
    dx -= xhat * mean_dxhat_xhat
    dx *= inv_std
    return dx
