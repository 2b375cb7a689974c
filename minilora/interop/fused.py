"""LoRA on a fused projection: one A and one B for layers that lie side by side, as W_q, W_k, W_v do in GPT-2's c_attn.

Split. With the rows of B for q, k and v, one LoRA is three with the same A:

    B A = (B_q; B_k; B_v) A = (B_q A; B_k A; B_v A)

Where a column of B_q is zero, its row of A adds nothing to q; such pairs are left out, and a layer whose part of B is
all zero is not adapted. (All of B is zero in an adapter that has learned nothing: then everything is kept.)

Join. Three LoRAs with an A of their own are one of rank 3 r, with B in blocks and zero elsewhere:

    A = (A_q; A_k; A_v)     B = (B_q  0    0  )
                                (0    B_k  0  )
                                (0    0    B_v)

A's that are equal share their rows. A fused LoRA has one scale; it is that of the first, and the others' ratio to it
goes into their B. The rank differs, so alpha does: scale = alpha / r stays. What was joined is split into what it was.
"""

import math
from typing import NamedTuple

import numpy

from minilora.layers import lora_scale


class Factors(NamedTuple):
    """delta_W = scale * B @ A of one layer, on the host; scale is that of alpha and the rank of A."""

    A: numpy.ndarray  # (r, I)
    B: numpy.ndarray  # (O, r)
    alpha: float

    @property
    def rank(self):
        """r."""
        return len(self.A)


def split(fused, n, rslora):
    """Factors of n layers side by side.

    Parameters
    ----------
    fused : Factors
        B of shape (n O, r).
    n : int
    rslora : bool
        Whether scale is alpha / sqrt(r).

    Returns
    -------
    list of Factors or None
        None for a layer that is not adapted.
    """
    parts = numpy.split(fused.B, n)  # n of (O, r)
    if n == 1 or not fused.B.any():
        return [fused._replace(B=B) for B in parts]
    return [_without_zeros(fused, B, rslora) for B in parts]


def _without_zeros(fused, B, rslora):
    used = B.any(axis=0)  # (r,)
    rank = int(used.sum())
    return Factors(fused.A[used], B[:, used], _alpha(fused, rank, rslora)) if rank else None


def join(parts, rows, rslora):
    """One Factors for layers side by side.

    Parameters
    ----------
    parts : list of Factors or None
        None for a layer that is not adapted; at least one is.
    rows : list of int
        O of each layer.
    rslora : bool

    Returns
    -------
    Factors
        B of shape (sum of rows, r), where r is the sum of the ranks of the A's that differ.
    """
    distinct = {part.A.tobytes(): part.A for part in parts if part is not None}
    stops = dict(zip(distinct, numpy.cumsum([len(A) for A in distinct.values()]), strict=True))
    A = numpy.concatenate(list(distinct.values()))  # (r, I)
    B = numpy.zeros((sum(rows), len(A)), A.dtype)  # (sum of O, r)
    first = next(part for part in parts if part is not None)
    for part, block in zip(parts, numpy.split(B, numpy.cumsum(rows)[:-1]), strict=True):
        if part is not None:
            stop = stops[part.A.tobytes()]
            block[:, stop - part.rank : stop] = part.B * (_scale(part, rslora) / _scale(first, rslora))
    return Factors(A, B, _alpha(first, len(A), rslora))


def _scale(factors, rslora):
    return lora_scale(factors.alpha, factors.rank, rslora)


def _alpha(factors, rank, rslora):
    """The alpha that gives another rank the scale of `factors`."""
    if rank == factors.rank:
        return factors.alpha
    alpha = factors.alpha * math.sqrt(rank / factors.rank) if rslora else factors.alpha * rank / factors.rank
    return int(alpha) if alpha.is_integer() else alpha
