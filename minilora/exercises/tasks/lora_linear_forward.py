"""y = x W^T + bias + scale (x A^T) B^T."""

import numpy

from minilora.exercises.runner.calls import Call
from minilora.exercises.task import Task, mistakes_in

SHAPES = (((2, 6), 4, 5, 3), ((7,), 4, 5, 3), ((), 5, 6, 2), ((2, 3, 4), 6, 5, 2))  # leading axes, O, I, r


def matrices(rng, leading, O=4, I=5, r=3):
    """A layer and its input, at a point where nothing is special: no size twice, B not zero, scale far from 1.

    The scale is above 1 where r is 3, and else below: no whole number is near all of them.
    """
    return {
        "x": rng.standard_normal((*leading, I)),
        "W": rng.standard_normal((O, I)),
        "bias": rng.standard_normal(O),
        "A": rng.standard_normal((r, I)),
        "B": rng.standard_normal((O, r)),
        "scale": float(rng.uniform(1.25, 3.0) if r == 3 else rng.uniform(0.3, 0.8)),
    }


def calls(rng):
    given = {f"x of shape {(*leading, I)}": matrices(rng, leading, O, I, r) for leading, O, I, r in SHAPES}
    start = matrices(rng, (3,))
    given["x of shape (3, 5), and B = 0"] = start | {"B": numpy.zeros_like(start["B"])}
    return [Call(where, "lora_linear_forward", arguments, ("y",)) for where, arguments in given.items()]


def right(x, W, bias, A, B, scale):
    return x @ W.T + bias + scale * (x @ A.T @ B.T)


MUTANTS = {
    "the one without alpha / r: scale has no say in it": (lambda x, W, bias, A, B, scale: right(x, W, bias, A, B, 1.0)),
    "x W^T + bias, without A and B: correct only while B = 0": (lambda x, W, bias, A, B, scale: x @ W.T + bias),
    "the one with scale on x W^T too; it belongs to LoRA's branch alone": (
        lambda x, W, bias, A, B, scale: scale * (x @ W.T + x @ A.T @ B.T) + bias
    ),
    "the one with scale on x W^T + bias too; it belongs to LoRA's branch alone": (
        lambda x, W, bias, A, B, scale: scale * right(x, W, bias, A, B, 1.0)
    ),
    "the one without the bias": (lambda x, W, bias, A, B, scale: right(x, W, 0.0, A, B, scale)),
    "the one without x W^T: LoRA's branch adds to the frozen layer, it does not replace it": (
        lambda x, W, bias, A, B, scale: scale * (x @ A.T @ B.T) + bias
    ),
    "LoRA's branch alone": (lambda x, W, bias, A, B, scale: scale * (x @ A.T @ B.T)),
    "the one divided by scale, where it multiplies": (
        lambda x, W, bias, A, B, scale: right(x, W, bias, A, B, 1.0 / scale)
    ),
    "the one with scale twice": (lambda x, W, bias, A, B, scale: right(x, W, bias, A, B, scale**2)),
    "the one with alpha / r divided by r again": (
        lambda x, W, bias, A, B, scale: right(x, W, bias, A, B, scale / len(A))
    ),
    "the one with LoRA's branch subtracted, where it is added": (
        lambda x, W, bias, A, B, scale: right(x, W, bias, A, B, -scale)
    ),
}
TASK = Task({"lora_linear_forward": right}, calls, mistakes_in("lora_linear_forward", MUTANTS))
