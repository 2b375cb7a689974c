"""y = x W^T + bias + scale (x A^T) B^T."""

import numpy

from minilora.exercises.task import Task, mistakes_in
from minilora.ops import lora_linear_forward


def matrices(rng, leading, O=4, I=5, r=3):
    """A layer and its input, at a point where nothing is special: no size twice, B not zero."""
    return {
        "x": rng.standard_normal((*leading, I)),
        "W": rng.standard_normal((O, I)),
        "bias": rng.standard_normal(O),
        "A": rng.standard_normal((r, I)),
        "B": rng.standard_normal((O, r)),
        "scale": 0.7,
    }


def points(rng):
    start = matrices(rng, (7,))
    start["B"] = numpy.zeros_like(start["B"])
    return {"x of shape (2, 6, 5)": matrices(rng, (2, 6)), "x of shape (7, 5), and B = 0": start}


def answer(f, **point):
    return {"y": f.lora_linear_forward(**point)}


def right(x, W, bias, A, B, scale):
    return lora_linear_forward(x, W, bias, A, B, scale)[0]


MUTANTS = {
    "the one without alpha / r: scale has no say in it": (
        lambda x, W, bias, A, B, scale: right(x, W, bias, A, B, 1.0)
    ),
    "x W^T + bias, without A and B: correct only while B = 0": (
        lambda x, W, bias, A, B, scale: x @ W.T + bias
    ),
    "the one with scale on x W^T too; it belongs to LoRA's branch alone": (
        lambda x, W, bias, A, B, scale: scale * (x @ W.T + x @ A.T @ B.T) + bias
    ),
    "the one without the bias": (
        lambda x, W, bias, A, B, scale: right(x, W, None, A, B, scale)
    ),
    "the one without x W^T: LoRA's branch adds to the frozen layer, it does not replace it": (
        lambda x, W, bias, A, B, scale: scale * (x @ A.T @ B.T) + bias
    ),
    "the one divided by scale, where it multiplies": (
        lambda x, W, bias, A, B, scale: right(x, W, bias, A, B, 1.0 / scale)
    ),
}  # fmt: skip
TASK = Task({"lora_linear_forward": right}, points, answer, mistakes_in("lora_linear_forward", MUTANTS))
