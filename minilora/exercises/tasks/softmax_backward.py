"""The gradient of softmax over the last axis."""

import numpy

from minilora.exercises.runner.calls import Call, Partial
from minilora.exercises.task import Slopes, Task, mistakes_in
from minilora.ops import softmax_forward

SHAPES = ((2, 3, 5), (4, 6), (7,), (2, 2, 3, 4), (4, 4))  # in a square one, a missing axis goes unnoticed


def calls(rng):
    return [
        Call(
            f"probs of shape {shape}",
            "softmax_backward",
            {
                "dprobs": rng.standard_normal(shape),
                "cache": {"probs": softmax_forward(2.0 * rng.standard_normal(shape))[0]},
            },
            ("dx",),
        )
        for shape in SHAPES
    ]


def right(dprobs, cache):
    (probs,) = cache
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))


def with_sum(overlap):
    """The gradient with another number, or numbers, in the place of the sum."""
    return lambda dprobs, cache: cache[0] * (dprobs - overlap(dprobs, cache[0]))


MUTANTS = {
    "probs * dprobs: the sum is missing, for every x of a row changes all of its probs": with_sum(lambda d, p: 0.0),
    "probs (1 - probs) dprobs: that is the diagonal of the Jacobian alone": (
        lambda dprobs, cache: cache[0] * (1.0 - cache[0]) * dprobs
    ),
    "the one with the sum over all axes, where each row has its own": with_sum(lambda d, p: (d * p).sum()),
    "the one with the sum over the first axis, where it goes over the last": with_sum(
        lambda d, p: (d * p).sum(axis=0, keepdims=True)
    ),
    "the one with the sum over the last axis but one, where it goes over the last": with_sum(
        lambda d, p: (d * p).sum(axis=-2, keepdims=True)
    ),
    "the one without `keepdims=True`: each sum is taken from a column, not from its row": with_sum(
        lambda d, p: (d * p).sum(axis=-1)
    ),
    "the one with the mean over the row, where the sum belongs": with_sum(
        lambda d, p: (d * p).mean(axis=-1, keepdims=True)
    ),
    "the one with the sum of dprobs, not of dprobs * probs": with_sum(lambda d, p: d.sum(axis=-1, keepdims=True)),
    "the one with the mean of dprobs, not the sum of dprobs * probs": with_sum(
        lambda d, p: d.mean(axis=-1, keepdims=True)
    ),
    "the one with the sum of probs, which is 1": with_sum(lambda d, p: 1.0),
    "dprobs - sum(dprobs * probs), not multiplied by probs": (
        lambda dprobs, cache: dprobs - (dprobs * cache[0]).sum(axis=-1, keepdims=True)
    ),
    "the one with the sum added, where it is subtracted": with_sum(lambda d, p: -(d * p).sum(axis=-1, keepdims=True)),
    "the one that is multiplied by probs twice": lambda dprobs, cache: cache[0] * right(dprobs, cache),
    "probs * dprobs minus the sum: the sum is multiplied by probs too": (
        lambda dprobs, cache: cache[0] * dprobs - (dprobs * cache[0]).sum(axis=-1, keepdims=True)
    ),
    "the gradient of log softmax, dprobs - probs * sum(dprobs)": (
        lambda dprobs, cache: dprobs - cache[0] * dprobs.sum(axis=-1, keepdims=True)
    ),
    "that of softmax of probs: the cache holds probs already": lambda dprobs, cache: right(
        dprobs, (softmax(cache[0]),)
    ),
}


def softmax(x):
    e = numpy.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def slopes(rng):
    x, dprobs = rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    given = {"dprobs": dprobs, "cache": {"probs": softmax(x)}}
    backward = Call("probs of shape (3, 5)", "softmax_backward", given, ("dx",))
    return Slopes([backward], dprobs, {"dx": Partial("softmax", {"x": x}, "x")})


TASK = Task({"softmax_backward": right}, calls, mistakes_in("softmax_backward", MUTANTS), slopes=slopes)
