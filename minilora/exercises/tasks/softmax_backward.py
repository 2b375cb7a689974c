"""The gradient of softmax over the last axis."""

from minilora.exercises.task import Task, mistakes_in
from minilora.ops import SoftmaxCache, softmax_backward, softmax_forward


def points(rng):
    return {
        f"probs of shape {shape}": {
            "dprobs": rng.standard_normal(shape),
            "probs": softmax_forward(2.0 * rng.standard_normal(shape))[0],
        }
        for shape in ((2, 3, 5), (4, 6))
    }


def answer(f, dprobs, probs):
    return {"dx": f.softmax_backward(dprobs, (probs,))}


def right(dprobs, cache):
    return softmax_backward(dprobs, SoftmaxCache(*cache))


def overlap(dprobs, cache):
    return (dprobs * cache[0]).sum(axis=-1, keepdims=True)


MUTANTS = {
    "probs * dprobs: the sum is missing, for every x of a row changes all of its probs": (
        lambda dprobs, cache: cache[0] * dprobs
    ),
    "probs (1 - probs) dprobs: that is the diagonal of the Jacobian alone": (
        lambda dprobs, cache: cache[0] * (1.0 - cache[0]) * dprobs
    ),
    "the one with the sum over all axes, where each row has its own": (
        lambda dprobs, cache: cache[0] * (dprobs - (dprobs * cache[0]).sum())
    ),
    "the one with the mean over the row, where the sum belongs": (
        lambda dprobs, cache: cache[0] * (dprobs - overlap(dprobs, cache) / dprobs.shape[-1])
    ),
    "the one with the sum of dprobs, not of dprobs * probs": (
        lambda dprobs, cache: cache[0] * (dprobs - dprobs.sum(axis=-1, keepdims=True))
    ),
    "dprobs - sum(dprobs * probs), not multiplied by probs": (
        lambda dprobs, cache: dprobs - overlap(dprobs, cache)
    ),
}  # fmt: skip
TASK = Task({"softmax_backward": right}, points, answer, mistakes_in("softmax_backward", MUTANTS))
