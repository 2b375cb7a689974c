"""Inverted dropout, y = x * mask, where an entry of mask is 0 with probability p and 1 / (1 - p) otherwise.

E[mask] = 1, so nothing has to be rescaled when dropout is switched off. The mask is a constant: dx = dy * mask.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import get_xp


class DropoutCache(NamedTuple):
    mask: Any


def dropout_mask(x, p, rng):
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
        raise ValueError(f"p, the probability of dropout, was {p}; it may be 0 <= p < 1")
    keep = rng.random(x.shape, dtype="float32") >= p
    mask = get_xp(x=x).asarray(keep).astype(x.dtype)
    mask *= 1.0 / (1.0 - p)
    return mask


def dropout_forward(x, p, rng):
    """y = x * mask with a mask newly drawn by `dropout_mask`. Returns y and a DropoutCache."""
    mask = dropout_mask(x, p, rng)
    return x * mask, DropoutCache(mask)


def dropout_backward(dy, cache):
    """dx = dy * mask"""
    return dy * cache.mask
