"""Two adapters, of W_q and W_v, as the one that PEFT keeps for GPT-2's c_attn."""

import numpy

from minilora.exercises.task import Task, mistakes_in, named, replacing
from minilora.interop.fused import Factors, join

NAMES = ("A", "B", "rank", "alpha")


def points(rng):
    return {
        f"d = {d}, r = {r}": {
            "A_q": rng.standard_normal((r, d)),
            "B_q": rng.standard_normal((d, r)),
            "A_v": rng.standard_normal((r, d)),
            "B_v": rng.standard_normal((d, r)),
            "alpha": 6.0,
        }
        for d, r in ((5, 2), (7, 3))
    }


def answer(f, A_q, B_q, A_v, B_v, alpha):
    return named("peft_export", f.peft_export(A_q, B_q, A_v, B_v, alpha), *NAMES)


def right(A_q, B_q, A_v, B_v, alpha):
    parts = [Factors(A_q, B_q, alpha), None, Factors(A_v, B_v, alpha)]
    fused = join(parts, [len(B_q)] * 3, rslora=False)
    return fused.A, fused.B, fused.rank, fused.alpha


wrong = replacing(right, *NAMES)


@wrong
def same_alpha(A_q, B_q, A_v, B_v, alpha):
    return {"alpha": alpha}


@wrong
def same_rank(A_q, B_q, A_v, B_v, alpha):
    return {"rank": len(A_q)}


@wrong
def value_in_key(A_q, B_q, A_v, B_v, alpha):
    B = right(A_q, B_q, A_v, B_v, alpha)[1]
    q, k, v = numpy.split(B, 3)
    return {"B": numpy.concatenate([q, v, k])}


@wrong
def crossed(A_q, B_q, A_v, B_v, alpha):
    return {"B": numpy.block([[B_q, B_q], [0.0 * B_q, 0.0 * B_q], [B_v, B_v]])}


@wrong
def one_above_the_other(A_q, B_q, A_v, B_v, alpha):
    return {"B": numpy.concatenate([B_q, 0.0 * B_q, B_v])}


@wrong
def summed(A_q, B_q, A_v, B_v, alpha):
    return {"A": A_q + A_v}


@wrong
def transposed(A_q, B_q, A_v, B_v, alpha):
    A, B = right(A_q, B_q, A_v, B_v, alpha)[:2]
    return {"A": A.T, "B": B.T}


@wrong
def value_first(A_q, B_q, A_v, B_v, alpha):
    return {"A": numpy.concatenate([A_v, A_q])}


MUTANTS = {
    "the alpha of each: with twice the rank, alpha / r would be halved": same_alpha,
    "the rank of each: A has the rows of both": same_rank,
    "the one with v in the rows of k: c_attn's outputs are q, k, v": value_in_key,
    "the one with B_q and B_v in both column blocks: q would get A_v's directions too": crossed,
    "B_q, 0 and B_v one above the other, with r columns: each A needs columns of its own": one_above_the_other,
    "A_q + A_v: the sum of two A's is neither": summed,
    "the transpose of the right one: PEFT keeps A as (r, in) and B as (out, r), for Conv1D too": transposed,
    "the one with A_v above A_q": value_first,
}
TASK = Task({"peft_export": right}, points, answer, mistakes_in("peft_export", MUTANTS))
