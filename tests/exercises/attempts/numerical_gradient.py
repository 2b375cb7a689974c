import numpy as np

from exercises.attempts import Attempts

a = Attempts("numerical_gradient")


def slope(measure, step=1e-5):
    """For short: a gradient by measure(L, x, i, h), with a copy of x."""

    def gradient(f, x, dy, h=step):
        x, dx = x.copy(), np.zeros(x.shape)

        def L(x):
            return np.sum(dy * f(x))

        for i in np.ndindex(x.shape):
            dx[i] = measure(L, x, i, h)
        return dx

    return gradient


def moved(x, i, h):
    x = x.copy()
    x[i] += h
    return x


@a.is_right("with copies")
def _(f, x, dy, h=1e-5):
    return slope(lambda L, x, i, h: (L(moved(x, i, h)) - L(moved(x, i, -h))) / (2 * h))(f, x, dy, h)


@a.is_right("over the flat array")
def _(f, x, dy, h=1e-5):
    dx = np.zeros(x.size)
    for k in range(x.size):
        e = np.zeros(x.size)
        e[k] = h
        e = e.reshape(x.shape)
        dx[k] = (dy * (f(x + e) - f(x - e))).sum() / 2 / h
    return dx.reshape(x.shape)


@a.is_right("vdot, and results that are copied")
def _(f, x, dy, h=1e-5):
    x = np.array(x)
    dx = np.empty_like(x)
    it = np.nditer(x, flags=["multi_index"])
    for _ in it:
        i = it.multi_index
        old = float(x[i])
        x[i] = old + h
        up = f(x).copy()
        x[i] = old - h
        down = f(x).copy()
        x[i] = old
        dx[i] = np.vdot(dy, up - down) / (2 * h)
    return dx


@a.is_right("in place, put back to the bit")
def _(f, x, dy, h=1e-5):
    dx = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        old = x[i]
        x[i] = old + h
        up = (dy * f(x)).sum()
        x[i] = old - h
        down = (dy * f(x)).sum()
        x[i] = old
        dx[i] = (up - down) / (2 * h)
    return dx


def agree(x, y, bound=1e-7):
    x, y = x.ravel(), y.ravel()
    if not np.isfinite(x).all() or not np.isfinite(y).all():
        return False
    return bool(np.sqrt(((x - y) ** 2).sum()) <= bound * np.sqrt(max((x * x).sum(), (y * y).sum())))


a.is_right("agree on squares", agree=agree)
a.is_right("agree with zero apart", agree=lambda x, y, bound=1e-7: bool(np.all(np.isfinite(x + y)) and (not (x.any() or y.any()) or np.linalg.norm(x - y) / max(np.linalg.norm(x), np.linalg.norm(y)) <= bound)))


def wrong(why, *true, g):
    a.is_wrong(why, *true, numerical_gradient=g)


wrong("3 h below", g=slope(lambda L, x, i, h: (L(moved(x, i, 3 * h)) - L(moved(x, i, -h))) / (4 * h)))
wrong("h on one side, 2 h on the other", g=slope(lambda L, x, i, h: (L(moved(x, i, 2 * h)) - L(moved(x, i, -h))) / (3 * h)))
wrong("five points: more exact than what was asked for", "the exact slope", g=slope(lambda L, x, i, h: (8 * (L(moved(x, i, h)) - L(moved(x, i, -h))) - (L(moved(x, i, 2 * h)) - L(moved(x, i, -2 * h)))) / (12 * h)))
wrong("h is halved", g=slope(lambda L, x, i, h: (L(moved(x, i, h / 2)) - L(moved(x, i, -h / 2))) / h))
wrong("the second derivative", g=slope(lambda L, x, i, h: (L(moved(x, i, h)) - 2 * L(x) + L(moved(x, i, -h))) / h**2))
wrong("relative steps, h times the entry", g=slope(lambda L, x, i, h: (L(moved(x, i, h * x[i])) - L(moved(x, i, -h * x[i]))) / (2 * h * x[i])))
wrong("h = 1e-3 always", g=lambda f, x, dy, h=0: slope(lambda L, x, i, h: (L(moved(x, i, 1e-3)) - L(moved(x, i, -1e-3))) / 2e-3)(f, x, dy))
wrong("h = 1e-12 always", g=lambda f, x, dy, h=0: slope(lambda L, x, i, h: (L(moved(x, i, 1e-12)) - L(moved(x, i, -1e-12))) / 2e-12)(f, x, dy))
wrong("the mean of dy f(x)", "not always the same", g=lambda f, x, dy, h=1e-5: slope(lambda L, x, i, h: (L(moved(x, i, h)) - L(moved(x, i, -h))) / (2 * h))(f, x, dy / dy.size, h))
wrong("dy squared", g=lambda f, x, dy, h=1e-5: slope(lambda L, x, i, h: (L(moved(x, i, h)) - L(moved(x, i, -h))) / (2 * h))(f, x, dy**2, h))
wrong("float32 steps", g=lambda f, x, dy, h=1e-5: slope(lambda L, x, i, h: (L(moved(x, i, h)) - L(moved(x, i, -h))) / (2 * h))(lambda x: f(x.astype("f4").astype("f8")), x, dy, h))
wrong("the last entry is left out", g=lambda f, x, dy, h=1e-5: np.where(np.arange(x.size).reshape(x.shape) < x.size - 1, slope(lambda L, x, i, h: (L(moved(x, i, h)) - L(moved(x, i, -h))) / (2 * h))(f, x, dy, h), 0.0))
wrong("flat", "another shape", g=lambda f, x, dy, h=1e-5: slope(lambda L, x, i, h: (L(moved(x, i, h)) - L(moved(x, i, -h))) / (2 * h))(f, x, dy, h).ravel())
wrong("the slope's size", g=lambda f, x, dy, h=1e-5: abs(slope(lambda L, x, i, h: (L(moved(x, i, h)) - L(moved(x, i, -h))) / (2 * h))(f, x, dy, h)))
wrong("x.T.shape is walked", "in another shape", g=lambda f, x, dy, h=1e-5: slope(lambda L, x, i, h: (L(moved(x, i, h)) - L(moved(x, i, -h))) / (2 * h))(f, x, dy, h).reshape(x.T.shape))


@a.is_wrong("x is not copied, and not put back")
def _(f, x, dy, h=1e-5):
    dx = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        x[i] += h
        up = np.sum(dy * f(x))
        x[i] -= 2 * h
        dx[i] = (up - np.sum(dy * f(x))) / (2 * h)
    return dx


@a.is_wrong("x is not copied, and put back by adding: not to the bit")
def _(f, x, dy, h=1e-5):
    dx = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        x[i] += h
        up = np.sum(dy * f(x))
        x[i] -= 2 * h
        dx[i] = (up - np.sum(dy * f(x))) / (2 * h)
        x[i] += h
    return dx


@a.is_wrong("put back to what it is after the first step")
def _(f, x, dy, h=1e-5):
    x, dx = x.copy(), np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        x[i] += h
        up = np.sum(dy * f(x))
        x[i] -= 2 * h
        dx[i] = (up - np.sum(dy * f(x))) / (2 * h)
        x[i] += 2 * h
    return dx


@a.is_wrong("two axes are taken for granted")
def _(f, x, dy, h=1e-5):
    x, dx = x.copy(), np.zeros(x.shape)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            old = x[i, j]
            x[i, j] = old + h
            up = np.sum(dy * f(x))
            x[i, j] = old - h
            dx[i, j] = (up - np.sum(dy * f(x))) / (2 * h)
            x[i, j] = old
    return dx


@a.is_wrong("each step sees the half of the entries that were moved before: put back one late")
def _(f, x, dy, h=1e-5):
    x, dx, last = x.copy(), np.zeros(x.shape), None
    for i in np.ndindex(x.shape):
        old = x[i]
        x[i] = old + h
        up = np.sum(dy * f(x))
        x[i] = old - h
        dx[i] = (up - np.sum(dy * f(x))) / (2 * h)
        if last:
            x[last[0]] = last[1]
        last = i, old
    return dx


def norm(x):
    return np.linalg.norm(x)


def says(why, *true, g):
    a.is_wrong(why, *true, agree=g)


def finite(x, y):
    return bool(np.isfinite(x).all() and np.isfinite(y).all())


says("allclose with its own bounds", g=lambda x, y, bound=1e-7: bool(np.allclose(x, y)))
says("allclose with rtol=bound", g=lambda x, y, bound=1e-7: bool(np.allclose(x, y, rtol=bound, atol=0)))
says("allclose with atol=bound", g=lambda x, y, bound=1e-7: bool(np.allclose(x, y, rtol=0, atol=bound)))
says("relative to the first alone", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) <= bound * norm(x)))
says("relative to the second alone", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) <= bound * norm(y)))
says("relative to the smaller", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) <= bound * min(norm(x), norm(y))))
says("relative to the sum", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) <= bound * (norm(x) + norm(y))))
says("relative to the mean", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) <= bound * (norm(x) + norm(y)) / 2))
says("squared on one side", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) ** 2 <= bound * max(norm(x), norm(y)) ** 2))
says("plus a tiny number, which lets tiny ones pass", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) <= bound * max(norm(x), norm(y)) + 1e-7))
says("ten times the bound", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) <= 10 * bound * max(norm(x), norm(y))))
says("1e-5, to be safe", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) <= max(bound, 1e-5) * max(norm(x), norm(y))))
says("the spectral norm", g=lambda x, y, bound=1e-7: finite(x, y) and bool(np.linalg.norm(x - y, 2) <= bound * max(np.linalg.norm(x, 2), np.linalg.norm(y, 2))))
says("the sum of the sizes", g=lambda x, y, bound=1e-7: finite(x, y) and bool(abs(x - y).sum() <= bound * max(abs(x).sum(), abs(y).sum())))
says("the mean error without a size", g=lambda x, y, bound=1e-7: finite(x, y) and bool(np.mean(x - y) <= bound * max(norm(x), norm(y))))
says("the angle between them", g=lambda x, y, bound=1e-7: finite(x, y) and bool((x * y).sum() >= (1 - bound) * norm(x) * norm(y)))
says("a division, nan for two zeros", "but for two gradients of zero", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(x - y) / max(norm(x), norm(y)) <= bound))
says("always True", g=lambda x, y, bound=1e-7: True)
says("always False", "False every time", g=lambda x, y, bound=1e-7: False)
says("nan is replaced by 0", g=lambda x, y, bound=1e-7: bool(norm(np.nan_to_num(x) - np.nan_to_num(y)) <= bound * max(norm(np.nan_to_num(x)), norm(np.nan_to_num(y)))))
says("the verdict is for each entry", g=lambda x, y, bound=1e-7: abs(x - y) <= bound * np.maximum(abs(x), abs(y)))
says("the sign is forgotten", g=lambda x, y, bound=1e-7: finite(x, y) and bool(norm(abs(x) - abs(y)) <= bound * max(norm(x), norm(y))))
says("nan alone is looked for", "infinite bound", g=lambda x, y, bound=1e-7: bool(norm(x - y) <= bound * max(norm(x), norm(y))))
