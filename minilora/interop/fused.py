"""LoRA on a fused projection: one A and one B for several layers, as for W_q, W_k, W_v in GPT-2's c_attn.

Split. With the rows of B for q, k and v, one LoRA is three with the same A:

    B A = (B_q; B_k; B_v) A = (B_q A; B_k A; B_v A)

If a column of B_q is zero, its row of A adds nothing to q; such pairs are left out, and a layer whose part of B is
entirely zero is not adapted. (All of B is zero in an adapter that has learned nothing: then everything is kept.)
DoRA's m has one number for each row of W, and is cut like B; a layer with an m is always adapted.

Join. Three LoRAs, each with its own A, are one of rank 3 r, with B in blocks and zero elsewhere:

    A = (A_q; A_k; A_v)     B = (B_q  0    0  )
                                (0    B_k  0  )
                                (0    0    B_v)

Equal A's share their rows. A fused LoRA has one scale, that of the first one that is not zero; the others' ratio to it
goes into their B. The rank changes, and alpha with it: scale = alpha / r stays. Splitting undoes joining.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy

from minilora.methods.lora import lora_scale


class Factors(NamedTuple):
    """delta_W = scale * B @ A of one layer, or DoRA, on the host; scale follows from alpha and the rank of A."""

    A: numpy.ndarray  # (r, I)
    B: numpy.ndarray  # (O, r)
    alpha: float
    m: numpy.ndarray | None = None  # (O,) DoRA's

    @property
    def rank(self) -> int:
        """r."""
        return len(self.A)


def split(fused: Factors, n: int, rslora: bool) -> list[Factors | None]:
    """Split fused Factors into those of n layers.

    Parameters
    ----------
    fused : Factors
        B of shape (n O, r), and m, if there is one, of shape (n O,).
    n : int
    rslora : bool
        Whether scale is alpha / sqrt(r).

    Returns
    -------
    list of Factors or None
        None for a layer that is not adapted.
    """
    ms = [None] * n if fused.m is None else numpy.split(fused.m, n)  # n of (O,)
    parts = [fused._replace(B=B, m=m) for B, m in zip(numpy.split(fused.B, n), ms, strict=True)]  # B: (O, r)
    if n == 1 or not fused.B.any():
        return list(parts)
    return [_without_zeros(part, rslora) for part in parts]


def _without_zeros(part: Factors, rslora: bool) -> Factors | None:
    used = part.B.any(axis=0)  # (r,)
    rank = int(used.sum())
    if not rank:
        return None if part.m is None else part
    return Factors(part.A[used], part.B[:, used], _alpha(part, rank, rslora), part.m)


def join(parts: Sequence[Factors | None], rows: Sequence[int], rslora: bool) -> Factors:
    """Join the Factors of several layers into one, without DoRA's m, which for an unadapted layer follows from W.

    Parameters
    ----------
    parts : list of Factors or None
        None for a layer that is not adapted; at least one must be.
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
    held = [part for part in parts if part is not None]
    first = next((part for part in held if part.alpha), held[0])  # a scale to divide by; if all are zero, that one
    for part, block in zip(parts, numpy.split(B, numpy.cumsum(rows)[:-1]), strict=True):
        if part is not None:
            stop = stops[part.A.tobytes()]
            ratio = _scale(part, rslora) / _scale(first, rslora) if part.alpha else float(part is first)
            block[:, stop - part.rank : stop] = part.B * ratio
    return Factors(A, B, _alpha(first, len(A), rslora))


def _scale(factors: Factors, rslora: bool) -> float:
    return lora_scale(factors.alpha, factors.rank, rslora)


def _alpha(factors: Factors, rank: int, rslora: bool) -> float:
    """The alpha that gives the scale of `factors` at another rank."""
    if rank == factors.rank:
        return factors.alpha
    alpha = factors.alpha * math.sqrt(rank / factors.rank) if rslora else factors.alpha * rank / factors.rank
    return int(alpha) if alpha.is_integer() else alpha
