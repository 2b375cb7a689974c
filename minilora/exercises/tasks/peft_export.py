"""Two adapters, of W_q and W_v, as the one that PEFT keeps for GPT-2's c_attn."""

import numpy

from minilora.exercises.runner.calls import Call
from minilora.exercises.task import Task, mistakes_in, replacing

NAMES = ("A", "B", "rank", "alpha")
SHAPES = ((5, 2), (7, 3), (6, 1), (4, 4))  # d, r


def calls(rng):
    return [
        Call(
            f"d = {d}, r = {r}",
            "peft_export",
            {
                "A_q": rng.standard_normal((r, d)),
                "B_q": rng.standard_normal((d, r)),
                "A_v": rng.standard_normal((r, d)),
                "B_v": rng.standard_normal((d, r)),
                "alpha": round(float(rng.uniform(1.3, 9.0)) + 0.003, 2),
            },
            NAMES,
        )
        for d, r in SHAPES
    ]


def right(A_q, B_q, A_v, B_v, alpha):
    zero = numpy.zeros_like(B_q)
    B = numpy.block([[B_q, zero], [zero, zero], [zero, B_v]])
    return numpy.concatenate([A_q, A_v]), B, 2 * len(A_q), 2 * alpha


wrong = replacing(right, *NAMES)


def other(name, value):
    """One result made another way, value(A_q, B_q, A_v, B_v, alpha)."""
    return wrong(lambda *given: {name: value(*given)})


def blocks(rows):
    """B from other blocks: rows(B_q, B_v, zero)."""
    return other("B", lambda A_q, B_q, A_v, B_v, alpha: numpy.block(rows(B_q, B_v, numpy.zeros_like(B_q))))


MUTANTS = {
    "the alpha of each: with twice the rank, alpha / r would be halved": other("alpha", lambda *given: given[4]),
    "half of alpha: it grows with the rank": other("alpha", lambda *given: given[4] / 2.0),
    "alpha / r: PEFT divides by the rank itself": other("alpha", lambda *given: given[4] / len(given[0])),
    "four times alpha, where twice belongs": other("alpha", lambda *given: 4.0 * given[4]),
    "twice the rank: alpha stands for alpha": other("alpha", lambda *given: 2.0 * len(given[0])),
    "the rank of each: A has the rows of both": other("rank", lambda *given: len(given[0])),
    "the number of columns of A: the rank is that of its rows": other("rank", lambda *given: given[0].shape[1]),
    "the number of rows of B: the rank is that of its columns": other("rank", lambda *given: 3 * given[0].shape[1]),
    "the one with v in the rows of k: c_attn's outputs are q, k, v": blocks(lambda q, v, o: [[q, o], [o, v], [o, o]]),
    "the one with q in the rows of k: c_attn's outputs are q, k, v": blocks(lambda q, v, o: [[o, o], [q, o], [o, v]]),
    "the one with q and v in each other's rows": blocks(lambda q, v, o: [[v, o], [o, o], [o, q]]),
    "the one with q and v in each other's columns": blocks(lambda q, v, o: [[o, q], [o, o], [v, o]]),
    "the one with B_q and B_v in both column blocks: q would get A_v's directions too": blocks(
        lambda q, v, o: [[q, q], [o, o], [v, v]]
    ),
    "the one without the rows of k: they are there, and zero": blocks(lambda q, v, o: [[q, o], [o, v]]),
    "the one with B_v in the rows of k too": blocks(lambda q, v, o: [[q, o], [o, v], [o, v]]),
    "the one with B_q for both": blocks(lambda q, v, o: [[q, o], [o, o], [o, q]]),
    "B_q, 0 and B_v one above the other, with r columns: each A needs columns of its own": blocks(
        lambda q, v, o: [[q], [o], [v]]
    ),
    "the one that is multiplied by alpha / r: PEFT does that": other(
        "B", lambda *given: given[4] / len(given[0]) * right(*given)[1]
    ),
    "A_q + A_v: the sum of two A's is neither": other("A", lambda A_q, B_q, A_v, B_v, alpha: A_q + A_v),
    "the mean of A_q and A_v: each is needed as it is": other("A", lambda A_q, B_q, A_v, B_v, alpha: (A_q + A_v) / 2.0),
    "A_q alone": other("A", lambda *given: given[0]),
    "A_q beside A_v: it stands above": other("A", lambda *given: numpy.concatenate([given[0], given[2]], axis=1)),
    "the one with A_v above A_q": other("A", lambda *given: numpy.concatenate([given[2], given[0]])),
    "the one with a block of zeros for k: A has no rows for it": other(
        "A", lambda *given: numpy.concatenate([given[0], 0.0 * given[0], given[2]])
    ),
    "A_q and A_v with their rows in turn: A_q stands above A_v": other(
        "A", lambda *given: numpy.stack([given[0], given[2]], axis=1).reshape(-1, given[0].shape[1])
    ),
}
TASK = Task({"peft_export": right}, calls, mistakes_in("peft_export", MUTANTS))
