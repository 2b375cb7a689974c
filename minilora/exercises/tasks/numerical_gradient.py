"""The slope by centred differences, and whether two gradients agree."""

import numpy

from minilora.exercises.task import Task
from minilora.gradcheck import numerical_gradient as right_gradient

BOUND, STEP = 1e-7, 1e-5


def points(rng):
    M, N = rng.standard_normal((3, 4)), rng.standard_normal((2, 5))
    cubes = {"function": lambda x: x**3 @ M, "x": rng.standard_normal((2, 3)), "dy": rng.standard_normal((2, 4))}
    sines = {
        "function": lambda x: numpy.sin(x) @ N,
        "x": rng.standard_normal((3, 1, 2)),
        "dy": rng.standard_normal((3, 1, 5)),
    }
    slopes = {"f(x) = x^3 M, with x of shape (2, 3)": cubes, "f(x) = sin(x) N, with x of shape (3, 1, 2)": sines}
    return slopes | {
        f"two gradients, of which one is {what}": dict(zip(("analytic", "numerical"), pair, strict=True))
        for what, pair in pairs(rng).items()
    }


def pairs(rng):
    """Gradients to compare, by what the first of the two is."""
    right = rng.standard_normal((3, 4))
    one_off, nothing, not_a_number = right.copy(), numpy.zeros((3, 4)), right.copy()
    one_off[2, 3] += 1e-3
    not_a_number[0, 1] = numpy.nan
    return {
        "the other": (right, right.copy()),
        "the other to rounding": (right * (1.0 + 1e-11), right),
        "the other to a billionth, both large": (1e9 * right + 1.0, 1e9 * right),
        "zero and so is the other": (nothing, nothing.copy()),
        "off in its last entry": (one_off, right),
        "of the wrong sign": (-right, right),
        "tiny and of the wrong sign": (-1e-9 * right, 1e-9 * right),
        "zero": (nothing, right),
        "nan in one entry": (not_a_number, right),
    }


def answer(f, function=None, x=None, dy=None, analytic=None, numerical=None):
    if function is None:
        return {"agree": f.agree(analytic, numerical)}
    return {"dx": f.numerical_gradient(function, x, dy)}


def agree(analytic, numerical):
    size = max(numpy.linalg.norm(analytic), numpy.linalg.norm(numerical))
    return bool(numpy.linalg.norm(analytic - numerical) <= BOUND * size)


def difference(slope):
    """A gradient whose every entry is slope(f, x, step), weighted with dy and summed."""

    def gradient(f, x, dy):
        dx = numpy.empty(x.shape)
        for i in numpy.ndindex(x.shape):
            step = numpy.zeros(x.shape)
            step[i] = STEP
            dx[i] = numpy.sum(dy * slope(f, x, step))
        return dx

    return {"numerical_gradient": gradient}


def compared(size):
    """A verdict on size(a - n) and the larger of size(a) and size(n)."""
    return lambda verdict: {"agree": lambda a, n: bool(verdict(size(a - n), max(size(a), size(n))))}


def norms_alone(a, n):
    a, n = numpy.linalg.norm(a), numpy.linalg.norm(n)
    return bool(abs(a - n) <= BOUND * max(a, n))


def all_at_once(f, x, dy):
    return numpy.full(x.shape, numpy.sum(dy * (f(x + STEP) - f(x - STEP))) / (2.0 * STEP))


by_norm, by_first_entry = compared(numpy.linalg.norm), compared(lambda x: abs(x[0, 0]))

MUTANTS = {
    "the one-sided difference, (f(x + h) - f(x)) / h, whose error is some 100,000 times that of the centred one": (
        difference(lambda f, x, step: (f(x + step) - f(x)) / STEP)
    ),
    "the one divided by h, but x + h and x - h are 2 h apart": (
        difference(lambda f, x, step: (f(x + step) - f(x - step)) / STEP)
    ),
    "the one for dy of ones: the upstream gradient has no say in it": (
        {"numerical_gradient": lambda f, x, dy: right_gradient(f, x)}
    ),
    "the slope with all entries of x moved together, where each is moved alone": {"numerical_gradient": all_at_once},
    "what an absolute bound says: any two tiny gradients pass, and two large ones hardly ever": (
        by_norm(lambda error, size: error <= BOUND)
    ),
    "what comparing the norms alone says, but a wrong sign has the right norm": {"agree": norms_alone},
    "what `not error > bound` says: every comparison with nan is False, so nan passes": (
        by_norm(lambda error, size: not error > BOUND * size)
    ),
    "what `error < bound * size` says: two gradients of zero agree, and 0 < 0 is False": (
        by_norm(lambda error, size: error < BOUND * size)
    ),
    "what one entry alone says": by_first_entry(lambda error, size: error <= BOUND * size),
}
TASK = Task({"numerical_gradient": right_gradient, "agree": agree}, points, answer, MUTANTS, bound=1e-7)
