"""The gradients of y = x W^T + bias."""

import numpy

from minilora.exercises.runner.calls import Call, Partial
from minilora.exercises.task import Slopes, Task, mistakes_in, replacing

NAMES = ("dx", "dW", "dbias")
SHAPES = (((2, 3), 4, 5), ((7,), 3, 5), ((), 4, 6), ((3, 2, 4), 2, 5))  # leading axes, O, I


def calls(rng):
    return [
        Call(
            f"x of shape {(*leading, I)}",
            "linear_backward",
            {
                "dy": rng.standard_normal((*leading, O)),
                "cache": {
                    "x": rng.standard_normal((*leading, I)),
                    "W": rng.standard_normal((O, I)),
                    "bias": rng.standard_normal(O),
                },
            },
            NAMES,
        )
        for leading, O, I in SHAPES
    ]


def rows(x):
    """(..., C) -> (M, C)"""
    return x.reshape(-1, x.shape[-1])


def right(dy, cache):
    x, W, _ = cache
    return dy @ W, rows(dy).T @ rows(x), rows(dy).sum(axis=0)


wrong = replacing(right, *NAMES)


@wrong
def mean(dy, cache):
    _, dW, dbias = right(dy, cache)
    return {"dW": dW / len(rows(dy)), "dbias": dbias / len(rows(dy))}


@wrong
def mean_over_first(dy, cache):
    _, dW, dbias = right(dy, cache)
    return {"dW": dW / len(dy), "dbias": dbias / len(dy)} if dy.ndim > 1 else {}


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
def all_axes(dy, cache):
    return {"dbias": dy.sum()}


@wrong
def not_summed(dy, cache):
    x, *_ = cache
    dW = dy.swapaxes(-1, -2) @ x if dy.ndim > 1 else numpy.outer(dy, x)
    return {"dW": dW, "dbias": dy}


@wrong
def first_row(dy, cache):
    return {"dW": numpy.outer(rows(dy)[0], rows(cache[0])[0]), "dbias": rows(dy)[0]}


@wrong
def last_row(dy, cache):
    return {"dW": numpy.outer(rows(dy)[-1], rows(cache[0])[-1]), "dbias": rows(dy)[-1]}


MUTANTS = {
    "the mean over the rows, where their sum belongs": mean,
    "the one divided by the length of the first axis; there is no mean in y": mean_over_first,
    "x^T dy, the transpose of the right one: a gradient has the shape of what it belongs to": transposed,
    "the one for an upstream gradient of ones: dy has no say in it": without_dy,
    "the sum over the first axis alone, but all leading axes are rows": first_axis,
    "the sum of all of dy: the rows are added up, the outputs are not": all_axes,
    "the one that is not summed over the leading axes": not_summed,
    "that of the first row alone": first_row,
    "that of the last row alone": last_row,
}


def slopes(rng):
    given = {"x": rng.standard_normal((3, 5)), "W": rng.standard_normal((4, 5)), "bias": rng.standard_normal(4)}
    dy = rng.standard_normal((3, 4))
    backward = Call("x of shape (3, 5)", "linear_backward", {"dy": dy, "cache": given}, NAMES)
    return Slopes([backward], dy, {f"d{name}": Partial("a linear map", given, name) for name in given})


TASK = Task({"linear_backward": right}, calls, mistakes_in("linear_backward", MUTANTS), slopes=slopes)
