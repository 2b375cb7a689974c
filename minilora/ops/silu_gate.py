"""The gate of a gated MLP, y = silu(gate) * up, between its two maps up and its one map down (Shazeer, 2020, "GLU
Variants Improve Transformer": SwiGLU, equation 5).

Derivation. A product has two factors, and each gets dy times the other:

    dup = dy * silu(gate)        dgate = dy * up * silu'(gate)         (`ops/silu.py`)

The cache has gate and up alone. silu and its slope are computed again in the backward: that is cheaper than keeping
two more arrays of a model's widest layer from the forward to the backward.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device
from minilora.ops.silu import silu_backward, silu_forward


class SiluGateCache(NamedTuple):
    gate: Array  # (..., F)
    up: Array  # (..., F)


def silu_gate_forward(gate: Array, up: Array) -> tuple[Array, SiluGateCache]:
    """y = silu(gate) * up, elementwise.

    Parameters
    ----------
    gate, up : ndarray of shape (..., F)

    Returns
    -------
    y : ndarray of shape (..., F)
    cache : SiluGateCache
    """
    check_same_device(gate=gate, up=up)
    a, _ = silu_forward(gate)  # (..., F)
    return a * up, SiluGateCache(gate, up)


def silu_gate_backward(dy: Array, cache: SiluGateCache) -> tuple[Array, Array]:
    """Gradients with respect to gate and up, (..., F)."""
    gate, up = cache
    a, silu_cache = silu_forward(gate)  # (..., F)
    # forward: y = a * up   so
    da, dup = dy * up, dy * a  # (..., F)
    # forward: a = silu(gate)   so
    dgate = silu_backward(da, silu_cache)  # (..., F)
    return dgate, dup
