"""The slope by centred differences, and whether two gradients agree."""

import math

import numpy

from minilora.exercises.runner.calls import Call, Function
from minilora.exercises.task import Task

BOUND, STEP = 1e-7, 1e-5
SLOPES = (
    ("sin(x M)", (2, 3), STEP),
    ("(x M)^3", (3, 1, 2), None),
    ("sin(x M)", (4,), None),
    ("(x M)^3", (1, 2, 2, 3), STEP),
)


def calls(rng):
    slopes = []
    for name, shape, step in SLOPES:
        h = {} if step else {"h": float(rng.uniform(0.02, 0.06))}
        function = Function(name, {"M": rng.standard_normal((shape[-1], 4))})
        given = {"f": function, "x": rng.standard_normal(shape), "dy": rng.standard_normal((*shape[:-1], 4))}
        what = f"f(x) = {name}, with x of shape {shape}" + "".join(f" and h = {value:.3g}" for value in h.values())
        slopes.append(Call(what, "numerical_gradient", given | h, ("dx",)))
    for name in ("x", "x[::-1]"):
        given = {"f": Function(name, {}), "x": rng.standard_normal((2, 4)), "dy": rng.standard_normal((2, 4))}
        slopes.append(Call(f"f(x) = {name}, which is x's own memory", "numerical_gradient", given, ("dx",)))
    return slopes + [
        Call(f"two gradients, {what}", "agree", dict(zip(("analytic", "numerical", "bound"), given)), ("agree",))
        for what, given in pairs(rng).items()
    ]


def pairs(rng):
    """Gradients to compare, sometimes with a bound, by description."""
    right = rng.standard_normal((3, 4))
    error = rng.standard_normal((3, 4))
    error *= numpy.linalg.norm(right) / numpy.linalg.norm(error)  # as long as the gradient
    bound = float(10.0 ** rng.uniform(-4.0, -2.0))
    one, even = numpy.zeros((3, 4)), numpy.linalg.qr(rng.standard_normal((4, 3)))[0].T
    one[tuple(rng.integers((3, 4)))] = math.sqrt(3.0)  # as long as `even`, all in one entry
    alike = numpy.full((3, 4), 0.5)  # and this is as long, too: other norms than Frobenius's tell them apart
    infinite, not_a_number, nothing = right.copy(), right.copy(), numpy.zeros((3, 4))
    infinite[1, 2], not_a_number[0, 1] = numpy.inf, numpy.nan
    return {
        "equal": (right, right.copy()),
        "equal to rounding": (right * (1.0 + 1e-11), right),
        "equal to a billionth, both large": (1e9 * right + 1.0, 1e9 * right),
        "both zero": (nothing, nothing.copy()),
        "off in the last entry": (right + 1e-3 * _last(right), right),
        "off in the first entry": (right + 1e-3 * _last(right)[::-1, ::-1], right),
        "of opposite sign": (-right, right),
        "tiny and of opposite sign": (-1e-9 * right, 1e-9 * right),
        "the first zero": (nothing, right),
        "the second zero": (right, nothing),
        "the first with a nan": (not_a_number, right),
        "the second with a nan": (right, not_a_number),
        "both with the same nan": (not_a_number, not_a_number.copy()),
        "the first with an infinity": (infinite, right),
        "the second with an infinity": (right, infinite),
        "both with the same infinity": (infinite, infinite.copy()),
        "apart by 0.8 of the usual bound": (right + 0.8 * BOUND * error, right),
        "apart by 1.25 of the usual bound": (right + 1.25 * BOUND * error, right),
        f"apart by 0.8 of bound = {bound:.3g}": (right + 0.8 * bound * error, right, bound),
        f"apart by 1.3 of bound = {bound:.3g}": (right + 1.3 * bound * error, right, bound),
        f"apart by 0.8 of bound = {bound:.3g}, all in one entry": (even + 0.8 * bound * one, even, bound),
        f"apart by 1.3 of bound = {bound:.3g}, in all entries": (one + 1.3 * bound * even, one, bound),
        f"apart by 1.3 of bound = {bound:.3g}, all in one entry": (even + 1.3 * bound * one, even, bound),
        f"apart by 0.8 of bound = {bound:.3g}, in all entries": (one + 0.8 * bound * even, one, bound),
        f"apart by 1.3 of bound = {bound:.3g}, alike in all entries": (even + 1.3 * bound * alike, even, bound),
        f"apart by 0.8 of bound = {bound:.3g}, alike in all entries": (even + 0.8 * bound * alike, even, bound),
        "the first 0.55 times the second, and bound = 0.5": (0.55 * right, right, 0.5),
        "the second 0.55 times the first, and bound = 0.5": (right, 0.55 * right, 0.5),
        "with four axes, apart by 2 of the usual bound": (_four(right + 2.0 * BOUND * error), _four(right)),
    }


def _last(array):
    one = numpy.zeros(array.shape)
    one[-1, -1] = 1.0
    return one


def _four(array):
    return array.reshape(1, 3, 2, 2)


def right_gradient(f, x, dy, h=STEP):
    x, dx = x.copy(), numpy.empty(x.shape)
    for i in numpy.ndindex(x.shape):
        original = x[i]
        x[i] = original + h
        plus = numpy.sum(dy * f(x))
        x[i] = original - h
        minus = numpy.sum(dy * f(x))
        x[i] = original
        dx[i] = (plus - minus) / (2.0 * h)
    return dx


def agree(analytic, numerical, bound=BOUND):
    size = max(numpy.linalg.norm(analytic), numpy.linalg.norm(numerical))
    return bool(numpy.linalg.norm(analytic - numerical) <= bound * size and size < numpy.inf)


def difference(slope):
    """A gradient whose every entry is slope(L, x, step, h), with L(x) = sum(dy * f(x))."""

    def gradient(f, x, dy, h=STEP):
        dx = numpy.empty(x.shape)
        for i in numpy.ndindex(x.shape):
            step = numpy.zeros(x.shape)
            step[i] = h
            dx[i] = slope(lambda x: numpy.sum(dy * f(x)), x, step, h)
        return dx

    return {"numerical_gradient": gradient}


def centred(L, x, step, h):
    return (L(x + step) - L(x - step)) / (2.0 * h)


def same_memory(f, x, dy, h=STEP):
    x, dx = x.copy(), numpy.empty(x.shape)
    for i in numpy.ndindex(x.shape):
        original = x[i]
        x[i] = original + h
        plus = f(x)
        x[i] = original - h
        minus = f(x)
        x[i] = original
        dx[i] = numpy.sum(dy * (plus - minus)) / (2.0 * h)
    return dx


def not_put_back(f, x, dy, h=STEP):
    x, dx = x.copy(), numpy.empty(x.shape)
    for i in numpy.ndindex(x.shape):
        x[i] += h
        plus = numpy.sum(dy * f(x))
        x[i] -= 2.0 * h
        dx[i] = (plus - numpy.sum(dy * f(x))) / (2.0 * h)
    return dx


def all_at_once(f, x, dy, h=STEP):
    return numpy.full(x.shape, numpy.sum(dy * (f(x + h) - f(x - h))) / (2.0 * h))


def compared(verdict, size=numpy.linalg.norm):
    """A verdict on size(a - n), the larger of size(a) and size(n), and the bound."""
    return {"agree": lambda a, n, bound=BOUND: bool(verdict(size(a - n), max(size(a), size(n)), bound))}


def norms_alone(a, n, bound=BOUND):
    a, n = numpy.linalg.norm(a), numpy.linalg.norm(n)
    return bool(abs(a - n) <= bound * max(a, n))


MUTANTS = [
    (
        "the one-sided difference, (f(x + h) - f(x)) / h, whose error is some 100,000 times that of the centred one",
        difference(lambda L, x, step, h: (L(x + step) - L(x)) / h),
    ),
    (
        "the one-sided difference backwards, (f(x) - f(x - h)) / h",
        difference(lambda L, x, step, h: (L(x) - L(x - step)) / h),
    ),
    ("the one divided by h, but x + h and x - h are 2 h apart", difference(lambda *given: 2.0 * centred(*given))),
    ("the one that is not divided by 2 h", difference(lambda L, x, step, h: L(x + step) - L(x - step))),
    ("the one with minus and plus in each other's place", difference(lambda *given: -centred(*given))),
    (
        "the one for dy of ones: the upstream gradient has no say in it",
        {"numerical_gradient": lambda f, x, dy, h=STEP: right_gradient(f, x, numpy.ones_like(dy), h)},
    ),
    (
        "the exact slope, as with h = 1e-5: with the h that is given, the difference errs by about h^2",
        {"numerical_gradient": lambda f, x, dy, h=STEP: right_gradient(f, x, dy, STEP)},
    ),
    (
        "the slope with all entries of x moved together, where each is moved alone",
        {"numerical_gradient": all_at_once},
    ),
    (
        "the one in which plus and minus are the same memory where f returns x itself: keep a number, or a copy",
        {"numerical_gradient": same_memory},
    ),
    (
        "the one in which the entries that were moved are not put back: the next ones see them moved",
        {"numerical_gradient": not_put_back},
    ),
    (
        "what an absolute bound says: any two tiny gradients pass, and two large ones hardly ever",
        compared(lambda error, size, bound: error <= bound and size < numpy.inf),
    ),
    ("what comparing the norms alone says, but a wrong sign has the right norm", {"agree": norms_alone}),
    (
        "what `not error > bound` says: every comparison with nan is False, so nan passes",
        compared(lambda error, size, bound: not error > bound * size),
    ),
    (
        "the right one but for two gradients of zero, which agree: 0 < 0 is False, and 0 / 0 is nan",
        compared(lambda error, size, bound: error < bound * size and size < numpy.inf),
    ),
    (
        "what the comparison alone says, but an infinite error is within an infinite bound",
        compared(lambda error, size, bound: error <= bound * size),
    ),
    (
        "what the largest entries say, where the norms of all belong",
        compared(lambda error, size, bound: error <= bound * size and size < numpy.inf, lambda x: numpy.abs(x).max()),
    ),
    (
        "what the bound 1e-7 says: the bound that is given has no say in it",
        compared(lambda error, size, bound: error <= BOUND * size and size < numpy.inf),
    ),
    (
        "what comparing for equality says, but rounding differs",
        {"agree": lambda a, n, bound=BOUND: bool((a == n).all())},
    ),
    (
        "what one entry alone says",
        compared(
            lambda error, size, bound: error <= bound * size and size < numpy.inf, lambda x: abs(x.reshape(-1)[0])
        ),
    ),
]
TASK = Task({"numerical_gradient": right_gradient, "agree": agree}, calls, MUTANTS, bound=1e-7)
