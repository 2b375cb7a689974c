"""What A, B and the scale are before the first step."""

import math

import numpy

from minilora.exercises.task import Task, mistakes_in, named, replacing
from minilora.layers import Linear, lora_scale
from minilora.methods import LoRAConfig, apply_lora
from minilora.parameter import Module

NAMES = ("A", "B", "scale")


def points(rng):
    """Each point has a generator of its own, which draws the same for everybody."""
    return {
        f"O = {O}, I = {I}, rank = {rank}, alpha = {alpha:g}": {
            "O": O, "I": I, "rank": rank, "alpha": alpha, "rng": numpy.random.default_rng(rng.integers(1 << 32)),
        }
        for O, I, rank, alpha in ((6, 9, 4, 6.0), (7, 3, 2, 16.0))
    }  # fmt: skip


def answer(f, O, I, rank, alpha, rng):
    return named("lora_start", f.lora_start(O, I, rank, alpha, rng), *NAMES)


def right(O, I, rank, alpha, rng):
    """Those of a layer that the package has just adapted."""
    model = Module()
    model.q_proj = Linear(numpy.zeros((O, I)))
    apply_lora(model, LoRAConfig(rank=rank, alpha=alpha, targets=("q_proj",)), rng=rng)
    return model.q_proj.A.data, model.q_proj.B.data, model.q_proj.scale


def drawn(low, high):
    """A drawn between low(I, r) and high(I, r)."""

    def start(O, I, rank, alpha, rng):
        return rng.uniform(low(I, rank), high(I, rank), (rank, I)), numpy.zeros((O, rank)), alpha / rank

    return start


def scaled(scale):
    """The scale that scale(alpha, r) gives."""
    return replacing(right, *NAMES)(lambda O, I, rank, alpha, rng: {"scale": scale(alpha, rank)})


@replacing(right, *NAMES)
def both_zero(O, I, rank, alpha, rng):
    return {"A": numpy.zeros((rank, I))}


@replacing(right, *NAMES)
def ones(O, I, rank, alpha, rng):
    return {"B": numpy.ones((O, rank))}


def gaussian(O, I, rank, alpha, rng):
    return rng.standard_normal((rank, I)) / rank, numpy.zeros((O, rank)), alpha / rank


MUTANTS = {
    "zero: with A and B both zero, neither gets a gradient, and nothing is ever learned": both_zero,
    "one drawn between -1 / sqrt(r) and 1 / sqrt(r); the bound goes by I, the number of inputs": drawn(
        lambda I, rank: -1.0 / math.sqrt(rank), lambda I, rank: 1.0 / math.sqrt(rank)
    ),
    "one drawn between -1 / I and 1 / I: the root is missing": drawn(lambda I, rank: -1.0 / I, lambda I, rank: 1.0 / I),
    "one drawn between 0 and 1 / sqrt(I): the lower bound is -1 / sqrt(I)": drawn(
        lambda I, rank: 0.0, lambda I, rank: 1.0 / math.sqrt(I)
    ),
    "a Gaussian one of standard deviation 1 / r: an option of PEFT, and the paper's words, but not asked for": gaussian,
    "a matrix of ones: delta_W would not be zero at the start, and the adapted model not the base": ones,
    "alpha, without dividing by r": scaled(lambda alpha, rank: alpha),
    "alpha / sqrt(r): that is rsLoRA's": scaled(lambda alpha, rank: lora_scale(alpha, rank, rslora=True)),
    "r / alpha: upside down": scaled(lambda alpha, rank: rank / alpha),
}
TASK = Task({"lora_start": right}, points, answer, mistakes_in("lora_start", MUTANTS))
