"""What A, B and the scale are before the first step."""

import math

import numpy

from minilora.exercises.runner.calls import Call, Seed
from minilora.exercises.task import Task, either, mistakes_in, replacing

NAMES = ("A", "B", "scale")


def calls(rng):
    """Each call has a generator of its own, which draws the same for everybody."""
    given = []
    for ranks, sides in (((2, 5), (6, 9)), ((2, 4), (9, 14)), ((5, 8), (10, 14)), ((3, 6), (14, 20))):
        rank, O = int(rng.integers(*ranks)), int(rng.integers(*sides))
        I = int(O + rng.integers(1, 5) * (-1) ** len(given))
        given.append((O, I, rank, round(either(rng, 0.35, 0.8) * rank + 0.003, 3)))
    O, I, rank, _ = given[0]  # the first scale is below 1, and the second above 2: no whole number fits both
    given[0] = O, I, rank, round(float(rng.uniform(0.35, 0.8)) * rank, 3)
    given[1] = *given[1][:3], round(float(rng.uniform(2.2, 2.8)) * given[1][2], 3)
    return [
        Call(
            f"O = {O}, I = {I}, rank = {rank}, alpha = {alpha:g}",
            "lora_start",
            {"O": O, "I": I, "rank": rank, "alpha": alpha, "rng": Seed(int(rng.integers(1 << 31)))},
            NAMES,
        )
        for O, I, rank, alpha in given
    ]


def drawn(low, high):
    """A drawn between low(O, I, r) and high(O, I, r)."""

    def start(O, I, rank, alpha, rng):
        return rng.uniform(low(O, I, rank), high(O, I, rank), (rank, I)), numpy.zeros((O, rank)), alpha / rank

    return start


def within(bound):
    return drawn(lambda *sizes: -bound(*sizes), bound)


right = within(lambda O, I, r: 1.0 / math.sqrt(I))


def normal(deviation):
    def start(O, I, rank, alpha, rng):
        return rng.standard_normal((rank, I)) * deviation(I, rank), numpy.zeros((O, rank)), alpha / rank

    return start


def scaled(scale):
    """The scale that scale(alpha, r) gives."""
    return replacing(right, *NAMES)(lambda O, I, rank, alpha, rng: {"scale": scale(alpha, rank)})


@replacing(right, *NAMES)
def zero_A(O, I, rank, alpha, rng):
    return {"A": numpy.zeros((rank, I))}


@replacing(right, *NAMES)
def ones(O, I, rank, alpha, rng):
    return {"B": numpy.ones((O, rank))}


def drawn_transposed(O, I, rank, alpha, rng):
    return rng.uniform(-1.0 / math.sqrt(I), 1.0 / math.sqrt(I), (I, rank)).T, numpy.zeros((O, rank)), alpha / rank


def second_draw(O, I, rank, alpha, rng):
    bound = 1.0 / math.sqrt(I)
    rng.uniform(-bound, bound, (O, rank))
    return rng.uniform(-bound, bound, (rank, I)), numpy.zeros((O, rank)), alpha / rank


def both_drawn(bound_of_B):
    def start(O, I, rank, alpha, rng):
        A = rng.uniform(-1.0 / math.sqrt(I), 1.0 / math.sqrt(I), (rank, I))
        bound = bound_of_B(I, rank)
        return A, rng.uniform(-bound, bound, (O, rank)), alpha / rank

    return start


MUTANTS = {
    "zero: A is the one that is drawn, and B the one that is zero": zero_A,
    "one drawn between -1 / sqrt(r) and 1 / sqrt(r); the bound goes by I, the number of inputs": within(
        lambda O, I, r: 1.0 / math.sqrt(r)
    ),
    "one drawn between -1 / sqrt(O) and 1 / sqrt(O); the bound goes by I, the number of inputs": within(
        lambda O, I, r: 1.0 / math.sqrt(O)
    ),
    "one drawn between -1 / I and 1 / I: the root is missing": within(lambda O, I, r: 1.0 / I),
    "one drawn between -sqrt(I) and sqrt(I): 1 / sqrt(I) upside down": within(lambda O, I, r: math.sqrt(I)),
    "one drawn between -sqrt(6 / I) and sqrt(6 / I), He's: LoRA's code takes 1 / sqrt(I)": within(
        lambda O, I, r: math.sqrt(6.0 / I)
    ),
    "one drawn between -sqrt(3 / I) and sqrt(3 / I): LoRA's code takes 1 / sqrt(I)": within(
        lambda O, I, r: math.sqrt(3.0 / I)
    ),
    "one drawn between -sqrt(6 / (r + I)) and sqrt(6 / (r + I)), Glorot's: LoRA's code takes 1 / sqrt(I)": within(
        lambda O, I, r: math.sqrt(6.0 / (r + I))
    ),
    "one drawn between -1 and 1": within(lambda O, I, r: 1.0),
    "one drawn between 0 and 1: what `rng.uniform` does without bounds": drawn(lambda *s: 0.0, lambda *s: 1.0),
    "one drawn between 0 and 1 / sqrt(I): the lower bound is -1 / sqrt(I)": drawn(
        lambda *s: 0.0, lambda O, I, r: 1.0 / math.sqrt(I)
    ),
    "a Gaussian one of standard deviation 1 / r: an option of PEFT, and the paper's words, but not asked for": normal(
        lambda I, r: 1.0 / r
    ),
    "a Gaussian one of standard deviation 1 / sqrt(I): a uniform one is asked for": normal(
        lambda I, r: 1.0 / math.sqrt(I)
    ),
    "a Gaussian one of standard deviation 1: a uniform one is asked for": normal(lambda I, r: 1.0),
    "a Gaussian one of standard deviation 0.02, as GPT-2's weights are: a uniform one is asked for": normal(
        lambda I, r: 0.02
    ),
    "the transpose of one that was drawn as (I, r): everybody draws (r, I)": drawn_transposed,
    "one that was not drawn first: something else has used the generator before": second_draw,
    "a matrix of ones: delta_W would not be zero at the start, and the adapted model not the base": ones,
    "one drawn like A: delta_W would not be zero at the start": both_drawn(lambda I, r: 1.0 / math.sqrt(I)),
    "one drawn between -1 / sqrt(r) and 1 / sqrt(r): delta_W would not be zero at the start": both_drawn(
        lambda I, r: 1.0 / math.sqrt(r)
    ),
    "alpha, without dividing by r": scaled(lambda alpha, r: alpha),
    "alpha / sqrt(r): that is rsLoRA's": scaled(lambda alpha, r: alpha / math.sqrt(r)),
    "alpha / r^2": scaled(lambda alpha, r: alpha / r**2),
    "alpha r: it is divided by r": scaled(lambda alpha, r: alpha * r),
    "alpha // r, a whole number: / divides, // rounds down": scaled(lambda alpha, r: alpha // r),
    "r / alpha: upside down": scaled(lambda alpha, r: r / alpha),
    "1 / r: alpha has no say in it": scaled(lambda alpha, r: 1.0 / r),
}
TASK = Task({"lora_start": right}, calls, mistakes_in("lora_start", MUTANTS))
