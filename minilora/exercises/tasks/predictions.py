"""Predict, then run: six numbers about LoRA, each of which is measured here by an experiment."""

import numpy

from minilora.exercises.runner.calls import Call
from minilora.exercises.task import Task, replacing
from minilora.exercises.tasks.adamw_step import right as adamw_step
from minilora.exercises.tasks.linear_backward import rows
from minilora.exercises.tasks.lora_linear_backward import right as lora_linear_backward

NAMES = ("trained", "dA", "rank", "sgd", "adamw", "swapped")
O, I, R = 12, 20, 4
STEPS = 100


def calls(rng):
    """There is nothing to draw: what is asked does not depend on the numbers in x, W and A."""
    return [Call("W of shape (12, 20), r = 4", "predictions", {}, NAMES)]


def start():
    """x, y, W, A and B as at the start of a training, and a task for which all of W has to change."""
    rng = numpy.random.default_rng(0)
    x, W, target = (rng.standard_normal(shape) for shape in ((64, I), (O, I), (O, I)))
    return x, x @ target.T, W, rng.uniform(-1.0, 1.0, (R, I)) / I**0.5, numpy.zeros((O, R))


def gradients(x, y, W, A, B, scale):
    """dA and dB of the mean of half the squared error."""
    h = x @ A.T
    e = (x @ W.T + scale * (h @ B.T) - y) / len(rows(x))
    return lora_linear_backward(e, (x, h, W, A, B, scale))[1:]


def descended(scale, steps, lr=0.01):
    """delta_W after steps of gradient descent."""
    x, y, W, A, B = start()
    for _ in range(steps):
        dA, dB = gradients(x, y, W, A, B, scale)
        A, B = A - lr * dA, B - lr * dB
    return scale * B @ A


def after_adamw(scale):
    """delta_W after one step of AdamW."""
    x, y, W, A, B = start()
    stepped = []
    for data, grad in zip((A, B), gradients(x, y, W, A, B, scale), strict=True):
        zero = numpy.zeros(data.shape)
        stepped.append(adamw_step(data, grad, zero, zero, 1, 0.01, 0.9, 0.999, 1e-12, 0.0)[0])
    A, B = stepped
    return scale * B @ A


def ratio(a, b):
    return float(numpy.linalg.norm(a) / numpy.linalg.norm(b))


def right():
    x, y, W, A, B = start()
    dA, _ = gradients(x, y, W, A, B, 2.0)
    B = numpy.random.default_rng(1).standard_normal(B.shape)
    _, dB = gradients(x, y, W, A, B, 2.0)
    _, dB_swapped = gradients(x, y, W, 2.0 * A, B / 2.0, 2.0)
    return (
        A.size + B.size,
        float(numpy.linalg.norm(dA)),
        int(numpy.linalg.matrix_rank(descended(2.0, STEPS), tol=1e-8)),
        ratio(descended(2.0, 1), descended(1.0, 1)),
        ratio(after_adamw(2.0), after_adamw(1.0)),
        ratio(dB_swapped, dB),
    )


def said(**changes):
    """The right numbers, except for one."""
    return {"predictions": replacing(right, *NAMES)(lambda: changes)}


MUTANTS = [
    ("12 x 20, the numbers in W: LoRA trains A and B in its place", said(trained=O * I)),
    ("r x I, the numbers in A alone; B has O x r more", said(trained=R * I)),
    ("O x r, the numbers in B alone; A has r x I more", said(trained=R * O)),
    ("1: the gradient of A has B in it, and B is zero", said(dA=1.0)),
    ("12, the rank of W: B has r columns, so B A has at most rank r", said(rank=O)),
    ("1: that is its rank after one step at most, for a batch of one row", said(rank=1)),
    ("8: the ranks of A and B do not add up, the thinner one decides", said(rank=2 * R)),
    ("2: scale stands in delta_W, but in dB too", said(sgd=2.0)),
    ("1: nothing divides alpha away in plain gradient descent", said(sgd=1.0)),
    ("4: AdamW divides by the size of the gradient, so the scale in dB is gone", said(adamw=4.0)),
    ("1: AdamW takes the scale out of the step, but delta_W has one of its own", said(adamw=1.0)),
    ("1: delta_W is the same, its gradient is too, but dB is that times A^T", said(swapped=1.0)),
    ("1/2, which is how dA changes, for dA has B in it", said(swapped=0.5)),
    ("4: A stands in dB once", said(swapped=4.0)),
]
TASK = Task({"predictions": right}, calls, MUTANTS, bound=1e-6)
