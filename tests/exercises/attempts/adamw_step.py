import numpy as np

from exercises.attempts import Attempts

a = Attempts("adamw_step")


def averages(g, m, v, b1, b2):
    return b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2


def right(data, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = averages(g, m, v, b1, b2)
    return data - lr * wd * data - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps), m, v


def wrong(why, *true, g):
    a.is_wrong(why, *true, adamw_step=g)


def line(why, *true, g):
    """The averages are right, and the data is g(data, m, v, t, lr, b1, b2, eps, wd)."""

    def step(data, grad, m, v, t, lr, b1, b2, eps, wd):
        m, v = averages(grad, m, v, b1, b2)
        return g(data, m, v, t, lr, b1, b2, eps, wd), m, v

    a.is_wrong(why, *true, adamw_step=step)


a.is_right(
    "the decay first, as a factor", adamw_step=lambda d, g, m, v, t, lr, b1, b2, eps, wd: ((1 - lr * wd) * d - lr * (n := b1 * m + (1 - b1) * g) / (1 - b1**t) / ((u := b2 * v + (1 - b2) * g * g) ** 0.5 / (1 - b2**t) ** 0.5 + eps), n, u)
)
a.is_right("m moves towards the gradient", adamw_step=lambda d, g, m, v, t, lr, b1, b2, eps, wd: right(d, g, m + 0 * g, v, t, lr, b1, b2, eps, wd))
a.is_right(
    "torch's way of writing it", adamw_step=lambda d, g, m, v, t, lr, b1, b2, eps, wd: (d * (1 - lr * wd) - (lr / (1 - b1**t)) * (n := m + (1 - b1) * (g - m)) / (np.sqrt(u := v + (1 - b2) * (g * g - v)) / np.sqrt(1 - b2**t) + eps), n, u)
)


@a.is_right("entry by entry")
def _(data, grad, m, v, t, lr, b1, b2, eps, wd):
    new = [np.empty_like(data) for _ in range(3)]
    for i in np.ndindex(data.shape):
        for array, value in zip(new, right(data[i], grad[i], m[i], v[i], t, lr, b1, b2, eps, wd)):
            array[i] = value
    return tuple(new)


wrong("m, v, data", "the right", g=lambda *x: [right(*x)[i] for i in (1, 2, 0)])
wrong("data, v, m", "the right", g=lambda *x: [right(*x)[i] for i in (0, 2, 1)])
wrong("data alone", g=lambda *x: right(*x)[0])
wrong("the step, not the data", g=lambda d, *x: (right(d, *x)[0] - d, *right(d, *x)[1:]))
wrong("torch's defaults for the betas", g=lambda d, g, m, v, t, lr, b1, b2, eps, wd: right(d, g, m, v, t, lr, 0.9, 0.999, eps, wd))
wrong("eps = 1e-8", "without eps", g=lambda d, g, m, v, t, lr, b1, b2, eps, wd: right(d, g, m, v, t, lr, b1, b2, 1e-8, wd))
wrong("decay 0.01", g=lambda d, g, m, v, t, lr, b1, b2, eps, wd: right(d, g, m, v, t, lr, b1, b2, eps, 0.01))
wrong("lr = 1e-3", g=lambda d, g, m, v, t, lr, b1, b2, eps, wd: right(d, g, m, v, t, 1e-3, b1, b2, eps, wd))
wrong("t counts from 0: t - 1 after the first", g=lambda d, g, m, v, t, *x: right(d, g, m, v, max(t - 1, 1), *x))
wrong("t = 3 always", g=lambda d, g, m, v, t, *x: right(d, g, m, v, 3, *x))
wrong("the gradient is clipped to 1", g=lambda d, g, *x: right(d, np.clip(g, -1, 1), *x))
wrong("the gradient is of unit norm", g=lambda d, g, *x: right(d, g / np.linalg.norm(g), *x))
wrong("the decay enters v", "Adam's", g=lambda d, g, m, v, t, lr, b1, b2, eps, wd: right(d, g + wd * d, m, v, t, lr, b1, b2, eps, 0))
wrong("the decay enters both, and shrinks too", "Adam's", g=lambda d, g, m, v, t, lr, b1, b2, eps, wd: right(d, g + wd * d, m, v, t, lr, b1, b2, eps, wd))
wrong("float32", "float32", g=lambda *x: tuple(y.astype("f4") for y in right(*x)))
wrong("v keeps the largest, as AMSGrad", g=lambda d, g, m, v, t, lr, b1, b2, eps, wd: (right(d, g, m, v, t, lr, b1, b2, eps, wd)[0], averages(g, m, v, b1, b2)[0], np.maximum(v, averages(g, m, v, b1, b2)[1])))
wrong("v of the size, not the square", g=lambda d, g, m, v, t, lr, b1, b2, eps, wd: (*right(d, g, m, v, t, lr, b1, b2, eps, wd)[:2], b2 * v + (1 - b2) * abs(g)))
wrong("m of the new and the old in turn", "1 - beta for beta", g=lambda d, g, m, v, t, lr, b1, b2, eps, wd: (right(d, g, m, v, t, lr, b1, b2, eps, wd)[0], (1 - b1) * m + b1 * g, averages(g, m, v, b1, b2)[1]))
line("sign descent", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * np.sign(m))
line("momentum alone", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * m / (1 - b1**t))
line("the correction multiplies", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * m * (1 - b1**t) / (np.sqrt(v * (1 - b2**t)) + eps))
line("1 - beta t, not beta^t", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * m / (1 - b1 / t) / (np.sqrt(v / (1 - b2 / t)) + eps))
line("the corrections are exchanged", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * m / (1 - b2**t) / (np.sqrt(v / (1 - b1**t)) + eps))
line("the decay of the square: lr wd data^2", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d**2 - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps))
line("the decay by the sign, as L1", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * np.sign(d) - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps))
line("the decay in the step: lr (m / ... + wd)", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd))
line("eps multiplies", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) * (1 + eps)))
line("the larger of root and eps", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * m / (1 - b1**t) / np.maximum(np.sqrt(v / (1 - b2**t)), eps))
line("cube root", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * m / (1 - b1**t) / (np.cbrt(v / (1 - b2**t)) + eps))
line("one v for the whole array", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * m / (1 - b1**t) / (np.sqrt(v.mean() / (1 - b2**t)) + eps))
line("Nesterov's", g=lambda d, m, v, t, lr, b1, b2, eps, wd: d - lr * wd * d - lr * (b1 * m) / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2**t)) + eps))


@a.is_wrong("m and v in place, as the package does it")
def _(data, grad, m, v, t, lr, b1, b2, eps, wd):
    m *= b1
    m += (1 - b1) * grad
    v *= b2
    v += (1 - b2) * grad**2
    return data - lr * wd * data - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps), m, v


@a.is_wrong("data in place")
def _(data, grad, m, v, t, lr, b1, b2, eps, wd):
    data -= lr * wd * data
    m, v = averages(grad, m, v, b1, b2)
    return data - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps), m, v


STEPS = [0]


@a.is_wrong("a counter of its own for t")
def _(data, grad, m, v, t, lr, b1, b2, eps, wd):
    STEPS[0] += 1
    return right(data, grad, m, v, STEPS[0], lr, b1, b2, eps, wd)
