"""The gradient of the mean cross entropy over the positions that count."""

import numpy

from minilora.exercises.runner.calls import Call, Partial
from minilora.exercises.task import Slopes, Task, either, mistakes_in
from minilora.ops import softmax_forward

SHAPES = (((2, 4), 5), ((5,), 4), ((), 6), ((2, 3, 2), 7), ((3, 3), 4))  # positions, V


def calls(rng):
    return [
        Call(
            f"probs of shape {(*shape, V)}, {int(mask.sum())} of {mask.size} positions count",
            "cross_entropy_backward",
            {
                "dloss": either(rng, 0.3, 0.8) * (-1.0) ** i,
                "cache": {
                    "probs": softmax_forward(2.0 * rng.standard_normal((*shape, V)))[0],
                    "targets": rng.integers(V, size=shape),
                    "mask": mask,
                },
            },
            ("dlogits",),
        )
        for i, (shape, V) in enumerate(SHAPES)
        for mask in [counted(rng, shape)]
    ]


def counted(rng, shape):
    """A mask with another number of positions in each sequence, at least one."""
    mask = numpy.ones(shape, bool)
    if mask.ndim == 1:
        mask[rng.permutation(mask.size)[:2]] = False
    for row, sequence in enumerate(mask if mask.ndim > 1 else ()):
        sequence.reshape(-1)[rng.permutation(sequence.size)[: min(row + 1, sequence.size - 1)]] = False
    return mask


def onehot(probs, targets):
    return numpy.eye(probs.shape[-1])[targets]


def right(dloss, cache):
    probs, targets, mask = cache
    return (dloss * mask / mask.sum())[..., None] * (probs - onehot(probs, targets))


def weighted(weight):
    """The gradient with another weight, weight(dloss, mask), for each position."""

    def backward(dloss, cache):
        probs, targets, mask = cache
        return numpy.asarray(weight(dloss, mask))[..., None] * (probs - onehot(probs, targets))

    return backward


def mean_of_means(dloss, mask):
    """Each sequence has its mean, and the loss is the mean of these."""
    if mask.ndim < 2:
        return dloss * mask / mask.sum()
    n = mask.sum(axis=tuple(range(1, mask.ndim)), keepdims=True)
    return dloss * mask / n / len(mask)


MUTANTS = {
    "the sum over the positions, where their mean belongs": weighted(lambda dloss, mask: dloss * mask),
    "the one divided by the number of all positions, not of those that count": weighted(
        lambda dloss, mask: dloss * mask / mask.size
    ),
    "the one of the mean over all positions: the mask has no say in it": weighted(
        lambda dloss, mask: dloss * numpy.ones(mask.shape) / mask.size
    ),
    "the one with gradients where the mask is False": weighted(
        lambda dloss, mask: dloss * numpy.ones(mask.shape) / mask.sum()
    ),
    "the one with gradients where the mask is False, and none where it is True": weighted(
        lambda dloss, mask: dloss * ~mask / mask.sum()
    ),
    "the one of the mean of each sequence's mean: M is the number of all positions that count": weighted(mean_of_means),
    "the one divided by the number of sequences": weighted(
        lambda dloss, mask: dloss * mask / (len(mask) if mask.ndim else 1)
    ),
    "the one divided by M V: the mean goes over positions, not over the vocabulary": (
        lambda dloss, cache: right(dloss, cache) / cache[0].shape[-1]
    ),
    "probs alone: the 1 at the target is missing": (
        lambda dloss, cache: (dloss * cache[2] / cache[2].sum())[..., None] * cache[0]
    ),
    "minus the one-hot targets alone: probs is missing": (
        lambda dloss, cache: -(dloss * cache[2] / cache[2].sum())[..., None] * onehot(*cache[:2])
    ),
    "onehot - probs, the negative of the right one": lambda dloss, cache: -right(dloss, cache),
    "the one for dloss = 1: dloss has no say in it": lambda dloss, cache: right(1.0, cache),
    "the one divided by dloss, where it multiplies": lambda dloss, cache: right(1.0 / dloss, cache),
    "the gradient with respect to probs, -1 / probs at the target: softmax is passed over": (
        lambda dloss, cache: -(dloss * cache[2] / cache[2].sum())[..., None] * onehot(*cache[:2]) / cache[0]
    ),
}


def slopes(rng):
    logits, targets, mask = rng.standard_normal((2, 4, 5)), rng.integers(5, size=(2, 4)), counted(rng, (2, 4))
    dloss = either(rng, 0.3, 0.8)
    cache = {"probs": softmax_forward(logits)[0], "targets": targets, "mask": mask}
    backward = Call(
        "probs of shape (2, 4, 5)", "cross_entropy_backward", {"dloss": dloss, "cache": cache}, ("dlogits",)
    )
    loss = Partial("cross entropy", {"logits": logits, "targets": targets, "mask": mask}, "logits")
    return Slopes([backward], dloss, {"dlogits": loss})


TASK = Task({"cross_entropy_backward": right}, calls, mistakes_in("cross_entropy_backward", MUTANTS), slopes=slopes)
