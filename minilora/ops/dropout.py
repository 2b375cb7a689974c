"""Inverted dropout, y = x * mask, where an entry of mask is 0 with probability p and 1 / (1 - p) otherwise.

E[mask] = 1, so nothing has to be rescaled when dropout is switched off. The mask is a constant: dx = dy * mask.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, Generator, get_xp


class DropoutCache(NamedTuple):
    mask: Array


def dropout_mask(x: Array, p: float, rng: Generator) -> Array:
    """A mask for x, drawn on the host, so that CPU and GPU runs drop the same entries.

    Parameters
    ----------
    x : ndarray of any shape
    p : float
        The probability that an entry is dropped, 0 <= p < 1.
    rng : numpy.random.Generator

    Returns
    -------
    mask : ndarray of x's shape and dtype
    """
    if not 0.0 <= p < 1.0:
        raise ValueError(f"p, the probability of dropout, was {p}; it must be 0 <= p < 1")
    keep = get_xp(x=x).asarray(rng.random(x.shape, dtype="float32") >= p)
    return keep.astype(x.dtype) * (1.0 / (1.0 - p))


def dropout_forward(x: Array, p: float, rng: Generator) -> tuple[Array, DropoutCache]:
    """y = x * mask with a new mask from `dropout_mask`. Returns y and a DropoutCache."""
    mask = dropout_mask(x, p, rng)
    return x * mask, DropoutCache(mask)


def dropout_backward(dy: Array, cache: DropoutCache) -> Array:
    """dx = dy * mask"""
    return dy * cache.mask
