import numpy as np

from exercises.attempts import Attempts

a = Attempts("lora_loop")


@a.is_right("through delta_W")
def through_delta(x, y, W, A, B, scale, lr, steps):
    A, B = A.copy(), B.copy()
    for _ in range(steps):
        G = (x @ (W + scale * B @ A).T - y).T @ x / len(x)
        dA, dB = scale * B.T @ G, scale * G @ A.T
        A -= lr * dA
        B -= lr * dB
    return A, B


@a.is_right("a list of states")
def states(x, y, W, A, B, scale, lr, steps):
    s = [(A, B)]
    while len(s) <= steps:
        A, B = s[-1]
        e = x @ W.T + scale * x @ A.T @ B.T - y
        s.append((A - lr / len(x) * scale * B.T @ e.T @ x, B - lr / len(x) * scale * e.T @ x @ A.T))
    return s[-1]


@a.is_wrong("as handed out")
def given(x, y, W, A, B, scale, lr, steps):
    for _ in range(steps):
        h = x @ A.T
        e = (x @ W.T + scale * (h @ B.T) - y) / len(x)
        dB = e.T @ h
        B -= lr * dB
        dA = scale * ((e @ B).T @ x)
        A -= lr * dA
    return A, B


@a.is_wrong("the scale is mended, the rest is not", "already moved")
def order(x, y, W, A, B, scale, lr, steps):
    for _ in range(steps):
        h = x @ A.T
        e = (x @ W.T + scale * (h @ B.T) - y) / len(x)
        B = B - lr * scale * e.T @ h
        A = A - lr * scale * ((e @ B).T @ x)
    return A, B


@a.is_wrong("the order is mended, the scale is not", "has no scale")
def no_scale(x, y, W, A, B, scale, lr, steps):
    for _ in range(steps):
        h = x @ A.T
        e = (x @ W.T + scale * (h @ B.T) - y) / len(x)
        A, B = A - lr * scale * ((e @ B).T @ x), B - lr * e.T @ h
    return A, B


@a.is_wrong("A first, then B at the new A")
def A_first(x, y, W, A, B, scale, lr, steps):
    for _ in range(steps):
        e = (x @ W.T + scale * (x @ A.T @ B.T) - y) / len(x)
        A = A - lr * scale * ((e @ B).T @ x)
        B = B - lr * scale * e.T @ (x @ A.T)
    return A, B


@a.is_wrong("the error is computed once")
def once(x, y, W, A, B, scale, lr, steps):
    e = (x @ W.T + scale * (x @ A.T @ B.T) - y) / len(x)
    for _ in range(steps):
        A, B = A - lr * scale * ((e @ B).T @ x), B - lr * scale * e.T @ (x @ A.T)
    return A, B


@a.is_wrong("the mean over all entries")
def all_entries(x, y, W, A, B, scale, lr, steps):
    return through_delta(x, y, W, A, B, scale, lr / y.shape[1], steps)


@a.is_wrong("twice the gradient, of the squared error not halved")
def doubled(x, y, W, A, B, scale, lr, steps):
    return through_delta(x, y, W, A, B, scale, 2 * lr, steps)


a.is_wrong("B, A", "the right A", "the right B")(lambda *given: through_delta(*given)[::-1])
a.is_wrong("nothing trains", "equals the A it began with")(lambda x, y, W, A, B, *rest: (A.copy(), B.copy()))
a.is_wrong("A is frozen")(lambda x, y, W, A, B, *rest: (A.copy(), through_delta(x, y, W, A, B, *rest)[1]))
a.is_wrong("one step too few")(lambda *given: through_delta(*given[:-1], given[-1] - 1))
a.is_wrong("one step too many")(lambda *given: through_delta(*given[:-1], given[-1] + 1))
a.is_wrong("float32", "float32")(lambda *given: tuple(np.float32(z) for z in through_delta(*given)))
a.is_wrong("no return")(lambda *given: None)
