import numpy as np

from exercises.attempts import Attempts

a = Attempts("lora_linear_backward")


def flat(x):
    return x.reshape(-1, x.shape[-1])


def right(dy, x, h, W, A, B, s):
    return dy @ W + s * (dy @ B) @ A, s * (flat(dy) @ B).T @ flat(x), s * flat(dy).T @ flat(h)


def is_right(why, g):
    a.is_right(why, lora_linear_backward=lambda dy, c: g(dy, *c))


def wrong(why, *true, g):
    """g gives some of the gradients, as a dict, or all."""

    def backward(dy, cache):
        made = g(dy, *cache)
        return tuple((dict(zip(("dx", "dA", "dB"), right(dy, *cache))) | made).values()) if isinstance(made, dict) else made

    a.is_wrong(why, *true, lora_linear_backward=backward)


is_right("through the full gradient", lambda dy, x, h, W, A, B, s: (dy @ (W + s * B @ A), s * B.T @ (G := flat(dy).T @ flat(x)), s * G @ A.T))
is_right("einsum", lambda dy, x, h, W, A, B, s: (dy @ W + s * np.einsum("...o,or,ri->...i", dy, B, A), s * np.einsum("mo,or,mi->ri", flat(dy), B, flat(x)), s * np.einsum("mo,mr->or", flat(dy), flat(h))))
is_right("h is computed anew", lambda dy, x, h, W, A, B, s: (dy @ W + (s * dy) @ B @ A, (flat(s * dy) @ B).T @ flat(x), flat(s * dy).T @ (flat(x) @ A.T)))


@a.is_right("a loop over rows")
def _(dy, cache):
    x, h, W, A, B, s = cache
    dx, dA, dB = np.zeros(x.shape), np.zeros(A.shape), np.zeros(B.shape)
    for i in np.ndindex(dy.shape[:-1]):
        dh = s * (B.T @ dy[i])
        dx[i] = W.T @ dy[i] + A.T @ dh
        dA += np.outer(dh, x[i])
        dB += s * np.outer(dy[i], h[i])
    return dx, dA, dB


wrong("dA and dB in each other's place", "the right dA", "the right dB", g=lambda *c: [right(*c)[i] for i in (0, 2, 1)])
wrong("dx last", "the right", g=lambda *c: [right(*c)[i] for i in (1, 2, 0)])
wrong("a dW comes along", g=lambda dy, x, *c: (*right(dy, x, *c), flat(dy).T @ flat(x)))
wrong("dA is (I, r)", "transpose", g=lambda *c: {"dA": right(*c)[1].T})
wrong("dA by reshape", "`reshape` does not", g=lambda *c: {"dA": right(*c)[1].T.reshape(right(*c)[1].shape)})
wrong("the sign of dx", "-1 times", g=lambda *c: {"dx": -right(*c)[0]})
wrong("no scale in dA alone", "without alpha / r", g=lambda dy, x, h, W, A, B, s: {"dA": (flat(dy) @ B).T @ flat(x)})
wrong("no scale in dB alone", "without alpha / r", g=lambda dy, x, h, W, A, B, s: {"dB": flat(dy).T @ flat(h)})
wrong("no scale in dx's branch", "without alpha / r", g=lambda dy, x, h, W, A, B, s: {"dx": dy @ W + dy @ B @ A})
wrong("the root of the scale in each", "not always the same", g=lambda dy, x, h, W, A, B, s: {"dA": s**0.5 * (flat(dy) @ B).T @ flat(x), "dB": s**0.5 * flat(dy).T @ flat(h)})
wrong("scale 0.7", "not always the same", "0.7 times", g=lambda dy, x, h, W, A, B, s: right(dy, x, h, W, A, B, 0.7))
wrong("scale is a whole number", "not always the same", g=lambda dy, x, h, W, A, B, s: right(dy, x, h, W, A, B, round(s)))
wrong("dB with x A^T of the first row", g=lambda dy, x, h, W, A, B, s: {"dB": s * np.outer(flat(dy).sum(0), flat(h)[0])})
wrong("dB from W's branch: y for h", g=lambda dy, x, h, W, A, B, s: {"dB": s * flat(dy).T @ (flat(x) @ W.T @ B)})
wrong("the product of the sums over rows", g=lambda dy, x, h, W, A, B, s: {"dB": s * np.outer(flat(dy).sum(0), flat(h).sum(0)), "dA": s * np.outer(flat(dy).sum(0) @ B, flat(x).sum(0))})
wrong("dh with A in B's place", g=lambda dy, x, h, W, A, B, s: {"dA": s * (flat(x) @ A.T).T @ flat(x)})
wrong("the first axis is not summed", g=lambda dy, x, h, W, A, B, s: {"dA": np.einsum("...r,...i->...ri", s * dy @ B, x)})
wrong("the batch is taken for one place", g=lambda dy, x, h, W, A, B, s: {"dA": s * (np.atleast_2d(dy)[0] @ B).reshape(-1, len(A)).T @ flat(np.atleast_2d(x)[0])})
wrong("dropout is divided out", "1.11111 times", g=lambda *c: {"dA": right(*c)[1] / 0.9})
wrong("the branch through W: dx = dy W (1 + scale B A)", g=lambda dy, x, h, W, A, B, s: {"dx": dy @ W + s * (dy @ W)})
wrong("B A is transposed by reshape", g=lambda dy, x, h, W, A, B, s: {"dx": dy @ W + s * dy @ (A.T @ B.T).reshape(W.shape)})
wrong("float32", "float32", g=lambda *c: tuple(g.astype("f4") for g in right(*c)))
wrong("weight decay comes along", g=lambda dy, x, h, W, A, B, s: {"dA": right(dy, x, h, W, A, B, s)[1] + 0.01 * A})
wrong("special case B = 0: dA is zero", "zero everywhere", g=lambda dy, x, h, W, A, B, s: {"dA": np.zeros_like(A)})
wrong("three axes are taken for granted", g=lambda dy, x, h, W, A, B, s: (dy @ W + s * dy @ B @ A, s * np.einsum("nto,or,nti->ri", dy, B, x), s * np.einsum("nto,ntr->or", dy, h)))


@a.is_wrong("h is scaled in place")
def _(dy, cache):
    x, h, W, A, B, s = cache
    h *= s
    return dy @ W + s * (dy @ B) @ A, s * (flat(dy) @ B).T @ flat(x), flat(dy).T @ flat(h)


@a.is_wrong("A gets its gradient in place")
def _(dy, cache):
    x, h, W, A, B, s = cache
    grads = right(dy, *cache)
    A -= 0.1 * grads[1]
    return grads


GRAD = {}


@a.is_wrong("gradients are added up by shape, as .grad is")
def _(dy, cache):
    dx, dA, dB = right(dy, *cache)
    GRAD[dA.shape] = GRAD.get(dA.shape, 0) + dA
    return dx, GRAD[dA.shape], dB
