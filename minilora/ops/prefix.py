"""Trainable activations at chosen positions, y[n, t] = P[slots[n, t]] where slots[n, t] >= 0, and x[n, t] elsewhere.

Prefix tuning's only operation: the tokens of a prefix are tokens like any other, but what stands for them in a layer is
learned, whatever the layers below have computed there.

Derivation. y is a choice between two arrays, so the gradient goes to the one that was chosen: dx = dy where a position
keeps its x, and zero where it was replaced; row s of dP is the sum of dy over all positions of slot s, as in
`ops/embedding.py`.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp, scatter_add
from minilora.ops.rows import rows


class PrefixCache(NamedTuple):
    slots: Any  # integers (...)
    P: Any  # (S, C)


def prefix_forward(x, P, slots):
    """Replace the rows of x that have a slot by rows of P.

    Parameters
    ----------
    x : ndarray of shape (..., C)
    P : ndarray of shape (S, C)
    slots : integer ndarray of shape (...)
        From 0 to S - 1, or -1 where x stays.

    Returns
    -------
    y : ndarray of shape (..., C)
    cache : PrefixCache
    """
    xp = get_xp(x=x, P=P, slots=slots)
    y = xp.where((slots >= 0)[..., None], P[xp.maximum(slots, 0)], x)  # (..., 1), (..., C), (..., C) -> (..., C)
    return y, PrefixCache(slots, P)


def prefix_backward(dy, cache):
    """Gradients with respect to x, (..., C), and P, (S, C)."""
    return prefix_dx(dy, cache), prefix_dP(dy, cache)


def prefix_dx(dy, cache):
    """forward: y = where(slots >= 0, P[slots], x)   so   dx is dy where there is no slot, (..., C)"""
    return dy * (cache.slots < 0)[..., None]


def prefix_dP(dy, cache):
    """forward: y = where(slots >= 0, P[slots], x)   so   dP[s] is the sum of dy where slots = s, (S, C)"""
    xp, (S, C) = get_xp(dy=dy, P=cache.P), cache.P.shape
    dP = xp.zeros((S + 1, C), dtype=dy.dtype)  # the last row takes what is not the prefix's
    scatter_add(dP, xp.where(cache.slots >= 0, cache.slots, S).reshape(-1), rows(dy))
    return dP[:S].copy()
