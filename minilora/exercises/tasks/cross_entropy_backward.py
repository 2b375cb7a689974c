"""The gradient of the mean cross entropy over the positions that count."""

import numpy

from minilora.exercises.task import Task, mistakes_in
from minilora.ops import cross_entropy_backward, cross_entropy_forward, softmax_forward


def points(rng):
    return {
        f"probs of shape {(*shape, 5)}, {int(mask.sum())} of {mask.size} positions count": {
            "probs": softmax_forward(2.0 * rng.standard_normal((*shape, 5)))[0],
            "targets": rng.integers(5, size=shape),
            "mask": mask,
            "dloss": 0.6,
        }
        for shape, mask in (
            ((2, 3), numpy.array([[False, True, True], [True, False, True]])),
            ((4,), numpy.array([True, True, False, True])),
        )
    }


def answer(f, probs, targets, mask, dloss):
    return {"dlogits": f.cross_entropy_backward(dloss, (probs, targets, mask))}


def right(dloss, cache):
    probs, targets, mask = cache
    return cross_entropy_backward(dloss, cross_entropy_forward(numpy.log(probs), targets, mask)[1])


def everywhere(cache):
    """The cache as if every position counted."""
    return (*cache[:2], numpy.ones_like(cache[2]))


MUTANTS = {
    "the sum over the positions, where their mean belongs": (
        lambda dloss, cache: right(dloss, cache) * cache[2].sum()
    ),
    "the one divided by the number of all positions, not of those that count": (
        lambda dloss, cache: right(dloss, cache) * cache[2].mean()
    ),
    "the one of the mean over all positions: the mask has no say in it": (
        lambda dloss, cache: right(dloss, everywhere(cache))
    ),
    "the one with gradients where the mask is False": (
        lambda dloss, cache: right(dloss, everywhere(cache)) / cache[2].mean()
    ),
    "probs alone: the 1 at the target is missing": (
        lambda dloss, cache: dloss * cache[0] * cache[2][..., None] / cache[2].sum()
    ),
    "onehot - probs, the negative of the right one": (
        lambda dloss, cache: -right(dloss, cache)
    ),
    "the one for dloss = 1: dloss has no say in it": (
        lambda dloss, cache: right(1.0, cache)
    ),
}  # fmt: skip
TASK = Task({"cross_entropy_backward": right}, points, answer, mistakes_in("cross_entropy_backward", MUTANTS))
