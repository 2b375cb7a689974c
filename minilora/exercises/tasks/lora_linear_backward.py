"""The gradients of y = x W^T + bias + scale (x A^T) B^T, with W and bias frozen."""

import numpy

from minilora.exercises.task import Task, mistakes_in, named, replacing
from minilora.exercises.tasks.lora_linear_forward import matrices
from minilora.ops import LoRALinearCache, lora_linear_backward
from minilora.ops.rows import rows

NAMES = ("dx", "dA", "dB")


def points(rng):
    generic = matrices(rng, (2, 6)) | {"dy": rng.standard_normal((2, 6, 4))}
    start = matrices(rng, (7,)) | {"dy": rng.standard_normal((7, 4))}
    start["B"] = numpy.zeros_like(start["B"])
    return {"x of shape (2, 6, 5)": generic, "x of shape (7, 5), and B = 0": start}


def answer(f, dy, x, W, bias, A, B, scale):
    return named("lora_linear_backward", f.lora_linear_backward(dy, (x, x @ A.T, W, A, B, scale)), *NAMES)


def right(dy, cache):
    return lora_linear_backward(dy, LoRALinearCache(*cache))


wrong = replacing(right, *NAMES)


@wrong
def without_scale(dy, cache):
    x, h, W, A, B, _ = cache
    return dict(zip(NAMES, right(dy, (x, h, W, A, B, 1.0)), strict=True))


@wrong
def base_alone(dy, cache):
    return {"dx": dy @ cache[2]}


@wrong
def branch_alone(dy, cache):
    *_, A, B, scale = cache
    return {"dx": scale * (dy @ B) @ A}


@wrong
def scaled_twice(dy, cache):
    scale = cache[5]
    dx, dA, dB = right(dy, cache)
    return {"dx": dy @ cache[2] + scale * (dx - dy @ cache[2]), "dA": scale * dA, "dB": scale * dB}


@wrong
def mean(dy, cache):
    _, dA, dB = right(dy, cache)
    return {"dA": dA / len(rows(dy)), "dB": dB / len(rows(dy))}


@wrong
def transposed(dy, cache):
    _, dA, dB = right(dy, cache)
    return {"dA": dA.T, "dB": dB.T}


@wrong
def scaled_everywhere(dy, cache):
    return {"dx": cache[5] * right(dy, cache)[0]}


MUTANTS = {
    "the one without alpha / r": without_scale,
    "dy W alone, without LoRA's branch: correct only while B = 0": base_alone,
    "that of LoRA's branch alone: x is used twice, so its gradient is a sum": branch_alone,
    "the one with alpha / r twice": scaled_twice,
    "the one with alpha / r on dy W too; it belongs to LoRA's branch alone": scaled_everywhere,
    "the mean over the rows, where their sum belongs": mean,
    "the transpose of the right one": transposed,
}
TASK = Task({"lora_linear_backward": right}, points, answer, mistakes_in("lora_linear_backward", MUTANTS))
