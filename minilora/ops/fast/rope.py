"""Rotary position embedding (`ops/rope.py`) without concatenation, and as one kernel on a GPU."""

from minilora.arrays.backend import Array, get_xp
from minilora.arrays.kernels import fused
from minilora.ops import rope as page
from minilora.ops.fast.attention_tiles import empty_heads
from minilora.ops.plain import engine_of
from minilora.ops.rope import RopeCache, check_angles
from minilora.ops.rows import rows


@engine_of(page.rope_forward)
def rope_forward(x: Array, cos: Array, sin: Array) -> tuple[Array, RopeCache]:
    check_angles(x, cos)
    return _rotate(x, rows(cos), rows(sin)), RopeCache(cos, sin)


@engine_of(page.rope_backward)
def rope_backward(dy: Array, cache: RopeCache) -> Array:
    cos, sin = cache
    return _rotate(dy, rows(cos), rows(-sin))  # by minus the angle


@fused(
    "x[N, H, T; K], cos[P, half], sin[P, half] -> y[N, H, T; K]",
    """
    const long long t = row % T, n = row / T / H;
    const long long first = half * (P > T ? n * T + t : t);  // angle of this position, or of this sequence's
    EACH(k) {
        const long long i = first + k % half;
        y[k] = k < half ? x[k] * cos[i] - x[k + half] * sin[i] : x[k - half] * sin[i] + x[k] * cos[i];
    }
    """,
)
def _rotate(x: Array, cos: Array, sin: Array) -> Array:
    """The rotated x; cos and sin have a row for each of T positions, or for each of N T."""
    xp, T, half = get_xp(x=x, cos=cos, sin=sin), x.shape[2], cos.shape[1]
    cos, sin = (a.reshape(-1, 1, T, half) for a in (cos, sin))  # (1, 1, T, K/2) or (N, 1, T, K/2)
    y = empty_heads(xp, x)  # (N, H, T, K)
    x1, x2, y1, y2 = x[..., :half], x[..., half:], y[..., :half], y[..., half:]
    product = x2 * sin  # (N, H, T, K/2)
    xp.multiply(x1, cos, out=y1)
    y1 -= product
    xp.multiply(x1, sin, out=product)
    xp.multiply(x2, cos, out=y2)
    y2 += product
    return y
