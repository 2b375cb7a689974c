"""Trainable activations at chosen positions, y[n, t] = P[slots[n, t]] where slots[n, t] >= 0, and x[n, t] elsewhere.

Prefix tuning's only operation: the tokens of a prefix are tokens like any other, but their activations in a layer are
learned, whatever the layers below have computed there.

Derivation. y is a choice between two arrays, so the gradient goes to the one that was chosen: dx = dy where a position
keeps its x, and zero where it was replaced; row s of dP is the sum of dy over all positions of slot s, as in
`ops/embedding.py`.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp


class PrefixCache(NamedTuple):
    slots: Array  # integers (...)
    P: Array  # (S, C)


def prefix_forward(x: Array, P: Array, slots: Array) -> tuple[Array, PrefixCache]:
    """Replace the rows of x that have a slot by rows of P.

    Parameters
    ----------
    x : ndarray of shape (..., C)
    P : ndarray of shape (S, C)
    slots : integer ndarray of shape (...)
        From 0 to S - 1, or -1 where x is kept.

    Returns
    -------
    y : ndarray of shape (..., C)
    cache : PrefixCache
    """
    xp = get_xp(x=x, P=P, slots=slots)
    y = xp.where((slots >= 0)[..., None], P[slots], x)  # (..., 1), (..., C), (..., C) -> (..., C)
    return y, PrefixCache(slots, P)


def prefix_backward(dy: Array, cache: PrefixCache) -> tuple[Array, Array]:
    """Gradients with respect to x, (..., C), and P, (S, C)."""
    slots, P = cache
    xp, (S, C) = get_xp(dy=dy, P=P), P.shape
    replaced = (slots >= 0)[..., None]  # (..., 1)
    # forward: y = where(replaced, P[slots], x)   so
    dx = xp.where(replaced, 0.0, dy)  # (..., C)
    dP = xp.zeros((S + 1, C), dtype=P.dtype)
    xp.add.at(dP, slots, dy)  # everything with slot -1 goes to the last row, which is not part of P
    return dx, dP[:S]
