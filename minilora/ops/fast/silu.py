"""SiLU and its gate (`ops/silu.py`, `ops/silu_gate.py`) in place, in chunks, and as one kernel each on a GPU.

With e = 1 + exp(-x), the sigmoid is 1 / e, y = x / e, and y' = (1 + x - y) / e.
"""

from minilora.arrays.backend import Array, check_same_device, get_xp
from minilora.arrays.chunks import elementwise
from minilora.arrays.kernels import fused
from minilora.ops import silu as page
from minilora.ops import silu_gate as page_of_gate
from minilora.ops.plain import engine_of
from minilora.ops.silu import SiluCache
from minilora.ops.silu_gate import SiluGateCache


@engine_of(page.silu_forward)
def silu_forward(x: Array) -> tuple[Array, SiluCache]:
    y, slope = elementwise(_silu, x, results=2)
    return y, SiluCache(slope)


@engine_of(page_of_gate.silu_gate_forward)
def silu_gate_forward(gate: Array, up: Array) -> tuple[Array, SiluGateCache]:
    check_same_device(gate=gate, up=up)
    (y,) = elementwise(_silu_gate, gate, up, results=1)
    return y, SiluGateCache(gate, up)


@engine_of(page_of_gate.silu_gate_backward)
def silu_gate_backward(dy: Array, cache: SiluGateCache) -> tuple[Array, Array]:
    dgate, dup = elementwise(_dgate_and_dup, dy, cache.gate, cache.up, results=2)
    return dgate, dup


@fused(
    "x[...], y[...], slope[...] -> y[...], slope[...]",
    """
    const real e = 1 + exp(-x[i]);
    y[i] = x[i] / e;
    slope[i] = (1 + x[i] - y[i]) / e;
    """,
)
def _silu(x: Array, y: Array, slope: Array) -> None:
    """Overwrite y and slope with silu(x) and its slope."""
    e = _one_plus_exp(x, get_xp(x=x).empty_like(x))
    _slope_times_e(x, e, y, slope)
    slope /= e


@fused("gate[...], up[...], y[...] -> y[...]", "y[i] = gate[i] / (1 + exp(-gate[i])) * up[i];")
def _silu_gate(gate: Array, up: Array, y: Array) -> None:
    """Overwrite y with silu(gate) * up."""
    e = _one_plus_exp(gate, y)
    get_xp(gate=gate).divide(gate, e, out=y)
    y *= up


@fused(
    "dy[...], gate[...], up[...], dgate[...], dup[...] -> dgate[...], dup[...]",
    """
    const real e = 1 + exp(-gate[i]), a = gate[i] / e;
    dup[i] = dy[i] * a;
    dgate[i] = dy[i] * up[i] * (1 + gate[i] - a) / e;
    """,
)
def _dgate_and_dup(dy: Array, gate: Array, up: Array, dgate: Array, dup: Array) -> None:
    """Overwrite dgate and dup with dy * up * silu'(gate) and dy * silu(gate)."""
    e = _one_plus_exp(gate, get_xp(gate=gate).empty_like(gate))
    _slope_times_e(gate, e, dup, dgate)
    dup *= dy
    dgate /= e
    dgate *= dy
    dgate *= up


def _one_plus_exp(x: Array, e: Array) -> Array:
    """Overwrite e with 1 + exp(-x), and return it."""
    xp = get_xp(x=x)
    xp.negative(x, out=e)
    xp.exp(e, out=e)
    e += 1.0
    return e


def _slope_times_e(x: Array, e: Array, y: Array, slope: Array) -> None:
    """Overwrite y with x / e = silu(x), and slope with e times its slope, 1 + x - y."""
    xp = get_xp(x=x)
    xp.divide(x, e, out=y)
    xp.subtract(x, y, out=slope)
    slope += 1.0
