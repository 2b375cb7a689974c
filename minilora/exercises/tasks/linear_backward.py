"""The gradients of y = x W^T + bias."""

import numpy

from minilora.exercises.task import Task, mistakes_in, named, replacing
from minilora.ops import LinearCache, linear_backward
from minilora.ops.rows import rows

NAMES = ("dx", "dW", "dbias")


def points(rng):
    return {
        f"x of shape {(*leading, 5)}": {
            "dy": rng.standard_normal((*leading, 4)),
            "x": rng.standard_normal((*leading, 5)),
            "W": rng.standard_normal((4, 5)),
            "bias": rng.standard_normal(4),
        }
        for leading in ((2, 3), (7,))
    }


def answer(f, dy, x, W, bias):
    return named("linear_backward", f.linear_backward(dy, (x, W, bias)), *NAMES)


def right(dy, cache):
    return linear_backward(dy, LinearCache(*cache))


wrong = replacing(right, *NAMES)


@wrong
def mean(dy, cache):
    _, dW, dbias = right(dy, cache)
    return {"dW": dW / len(rows(dy)), "dbias": dbias / len(rows(dy))}


@wrong
def transposed(dy, cache):
    return {"dW": rows(cache[0]).T @ rows(dy)}


@wrong
def without_dy(dy, cache):
    return dict(zip(NAMES, right(numpy.ones_like(dy), cache), strict=True))


@wrong
def first_axis(dy, cache):
    return {"dbias": dy.sum(axis=0)}


@wrong
def first_row(dy, cache):
    return {"dW": numpy.outer(rows(dy)[0], rows(cache[0])[0]), "dbias": rows(dy)[0]}


MUTANTS = {
    "the mean over the rows, where their sum belongs": mean,
    "x^T dy, the transpose of the right one: a gradient has the shape of what it belongs to": transposed,
    "the one for an upstream gradient of ones: dy has no say in it": without_dy,
    "the sum over the first axis alone, but all leading axes are rows": first_axis,
    "that of the first row alone": first_row,
}
TASK = Task({"linear_backward": right}, points, answer, mistakes_in("linear_backward", MUTANTS))
