"""Root-mean-square normalisation (`ops/rmsnorm.py`) in few passes over memory, and as one kernel on a GPU."""

from minilora.arrays.backend import Array, check_same_device, get_xp
from minilora.arrays.kernels import fused
from minilora.ops import rmsnorm as page
from minilora.ops.fast.row_products import row_dot
from minilora.ops.plain import engine_of
from minilora.ops.rmsnorm import RMSNormCache
from minilora.ops.rows import rows


@engine_of(page.rmsnorm_forward)
def rmsnorm_forward(x: Array, gain: Array, eps: float = 1e-5) -> tuple[Array, RMSNormCache]:
    check_same_device(x=x, gain=gain)
    y, xhat, inv_rms = _normalise(x, gain, float(eps))
    return y, RMSNormCache(xhat, inv_rms, gain)


@engine_of(page.rmsnorm_backward)
def rmsnorm_backward(dy: Array, cache: RMSNormCache) -> tuple[Array, Array | None]:
    xhat, inv_rms, gain, frozen = cache
    # forward: y = gain * xhat   so
    dgain = None if "gain" in frozen else get_xp(dy=dy).einsum("mc,mc->c", rows(dy), rows(xhat))  # (C,)
    return _dx(dy, xhat, inv_rms, gain), dgain


@fused(
    "x[...; C], gain[C], eps -> y[...; C], xhat[...; C], inv_rms[...; 1]",
    """
    const real s = 1 / sqrt(SUM(c, x[c] * x[c]) / C + eps);
    *inv_rms = s;
    EACH(c) {
        xhat[c] = x[c] * s;
        y[c] = xhat[c] * gain[c];
    }
    """,
)
def _normalise(x: Array, gain: Array, eps: float) -> tuple[Array, Array, Array]:
    """y, xhat and inv_rms."""
    xp, C = get_xp(x=x), x.shape[-1]
    inv_rms = xp.sqrt(C / (row_dot(x, x) + C * eps))  # (..., 1), which is 1 / sqrt(mean + eps)
    xhat = x * inv_rms  # (..., C)
    return xhat * gain, xhat, inv_rms


@fused(
    "dy[...; C], xhat[...; C], inv_rms[...; 1], gain[C] -> dx[...; C]",
    """
    const real mean_dxhat_xhat = SUM(c, dy[c] * gain[c] * xhat[c]) / C;
    EACH(c) dx[c] = *inv_rms * (dy[c] * gain[c] - xhat[c] * mean_dxhat_xhat);
    """,
)
def _dx(dy: Array, xhat: Array, inv_rms: Array, gain: Array) -> Array:
    dx = dy * gain  # this is dxhat, (..., C)
    mean_dxhat_xhat = row_dot(dx, xhat) / dx.shape[-1]  # (..., 1)
    dx -= xhat * mean_dxhat_xhat
    dx *= inv_rms
    return dx
