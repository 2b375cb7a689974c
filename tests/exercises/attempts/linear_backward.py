import numpy as np

from exercises.attempts import Attempts

a = Attempts("linear_backward")


def flat(x):
    return x.reshape(-1, x.shape[-1])


@a.is_right("einsum, after the leading axes are one")
def _(dy, cache):
    x, W, bias = cache
    d, X = flat(dy), flat(x)
    return np.einsum("...o,oi->...i", dy, W), np.einsum("mo,mi->oi", d, X), np.einsum("mo->o", d)


@a.is_right("tensordot over all leading axes")
def _(dy, cache):
    x, W, bias = cache
    axes = tuple(range(dy.ndim - 1))
    return dy @ W, np.tensordot(dy, x, axes=(axes, axes)), dy.sum(axis=axes)


@a.is_right("loops over the rows")
def _(dy, cache):
    x, W, bias = cache
    dx, dW, dbias = np.zeros(x.shape), np.zeros(W.shape), np.zeros(bias.shape)
    for i in np.ndindex(dy.shape[:-1]):
        dx[i] = W.T @ dy[i]
        dW += np.outer(dy[i], x[i])
        dbias += dy[i]
    return dx, dW, dbias


@a.is_right("dbias as a product with ones, dW as the transpose of x^T dy")
def _(dy, cache):
    x, W, _ = cache
    d, X = flat(dy), flat(x)
    return (W.T @ d.T).T.reshape(x.shape), (X.T @ d).T, np.ones(len(d)) @ d


@a.is_wrong("dW and dx in each other's place", "the right dW", "the right dx")
def _(dy, cache):
    x, W, _ = cache
    return flat(dy).T @ flat(x), dy @ W, flat(dy).sum(0)


@a.is_wrong("dW and dbias in each other's place", "the right dW", "the right dbias")
def _(dy, cache):
    x, W, _ = cache
    return dy @ W, flat(dy).sum(0), flat(dy).T @ flat(x)


@a.is_wrong("all three backwards", "the right")
def _(dy, cache):
    x, W, _ = cache
    return flat(dy).sum(0), flat(dy).T @ flat(x), dy @ W


@a.is_wrong("works with two axes alone: .T turns all axes round")
def _(dy, cache):
    x, W, _ = cache
    return dy @ W, dy.T @ x, dy.sum(0)


@a.is_wrong("three axes are taken for granted")
def _(dy, cache):
    x, W, _ = cache
    return dy @ W, np.einsum("nto,nti->oi", dy, x), dy.sum((0, 1))


@a.is_wrong("dbias with keepdims: (1, O)", "in another shape")
def _(dy, cache):
    x, W, _ = cache
    return dy @ W, flat(dy).T @ flat(x), flat(dy).sum(0, keepdims=True)


@a.is_wrong("dbias as a column", "in another shape")
def _(dy, cache):
    x, W, _ = cache
    return dy @ W, flat(dy).T @ flat(x), flat(dy).sum(0)[:, None]


@a.is_wrong("the sign of descent in all of them", "-1 times")
def _(dy, cache):
    x, W, _ = cache
    return -dy @ W, -flat(dy).T @ flat(x), -flat(dy).sum(0)


@a.is_wrong("half of a squared loss")
def _(dy, cache):
    x, W, bias = cache
    d = dy - (x @ W.T + bias)
    return d @ W, flat(d).T @ flat(x), flat(d).sum(0)


@a.is_wrong("dy is changed in place to save memory")
def _(dy, cache):
    x, W, _ = cache
    dx = dy @ W
    dy *= 1.0
    dy += 0.0
    dy[...] = np.round(dy, 30) + 1e-300 - 1e-300
    dy -= dy
    return dx, flat(dy).T @ flat(x), flat(dy).sum(0)


@a.is_wrong("the bias in the cache is overwritten by its gradient")
def _(dy, cache):
    x, W, bias = cache
    bias[:] = flat(dy).sum(0)
    return dy @ W, flat(dy).T @ flat(x), bias.copy()


@a.is_wrong("float32, as on a GPU", "float32")
def _(dy, cache):
    x, W, _ = (array.astype(np.float32) for array in cache)
    d = dy.astype(np.float32)
    return d @ W, flat(d).T @ flat(x), flat(d).sum(0)


@a.is_wrong("computed in float32, handed over as float64")
def _(dy, cache):
    x, W, _ = (array.astype(np.float32) for array in cache)
    d = dy.astype(np.float32)
    return tuple(g.astype(np.float64) for g in (d @ W, flat(d).T @ flat(x), flat(d).sum(0)))


@a.is_wrong("gradients are clipped to 1, as in training")
def _(dy, cache):
    x, W, _ = cache
    return tuple(np.clip(g, -1, 1) for g in (dy @ W, flat(dy).T @ flat(x), flat(dy).sum(0)))


@a.is_wrong("gradients of unit length", "a number that is not always the same")
def _(dy, cache):
    x, W, _ = cache
    return tuple(g / np.linalg.norm(g) for g in (dy @ W, flat(dy).T @ flat(x), flat(dy).sum(0)))


TOTAL = {}


@a.is_wrong("dW is added up from call to call, as .grad is")
def _(dy, cache):
    x, W, _ = cache
    dW = flat(dy).T @ flat(x)
    TOTAL[W.shape] = TOTAL.get(W.shape, 0.0) + dW
    return dy @ W, TOTAL[W.shape], flat(dy).sum(0)


OUT = {}


@a.is_wrong("one buffer for all dx of a shape")
def _(dy, cache):
    x, W, _ = cache
    dx = OUT.setdefault(x.shape[-1], np.empty((100, x.shape[-1])))[: len(flat(dy))]
    np.matmul(flat(dy), W, out=dx)
    return dx.reshape(x.shape), flat(dy).T @ flat(x), flat(dy).sum(0)


@a.is_wrong("dW is rounded for printing")
def _(dy, cache):
    x, W, _ = cache
    return dy @ W, (flat(dy).T @ flat(x)).round(4), flat(dy).sum(0)


@a.is_wrong("the last place of the first axis is left out (off by one)")
def _(dy, cache):
    x, W, _ = cache
    d, X = flat(dy), flat(x)
    dW = sum((np.outer(d[m], X[m]) for m in range(len(d) - 1)), np.zeros(W.shape))
    return dy @ W, dW, d.sum(0)


@a.is_wrong("dbias counts the rows", "upstream gradient of ones")
def _(dy, cache):
    x, W, bias = cache
    return dy @ W, flat(dy).T @ flat(x), np.full(bias.shape, float(len(flat(dy))))


@a.is_wrong("the columns of dx in reverse")
def _(dy, cache):
    x, W, _ = cache
    return (dy @ W)[..., ::-1], flat(dy).T @ flat(x), flat(dy).sum(0)


@a.is_wrong("reshape for transpose in dW", "`reshape` does not transpose", "holds the numbers of the transpose")
def _(dy, cache):
    x, W, _ = cache
    return dy @ W, (flat(x).T @ flat(dy)).reshape(W.shape), flat(dy).sum(0)


@a.is_wrong("dx is flattened", "in another shape")
def _(dy, cache):
    x, W, _ = cache
    return flat(dy) @ W, flat(dy).T @ flat(x), flat(dy).sum(0)


@a.is_wrong("the leading axes are flattened in Fortran's order for x alone")
def _(dy, cache):
    x, W, _ = cache
    X = x.reshape((-1, x.shape[-1]), order="F")
    return dy @ W, flat(dy).T @ X, flat(dy).sum(0)


@a.is_wrong("dW without the bias trick undone: bias enters x")
def _(dy, cache):
    x, W, bias = cache
    return dy @ W + bias.sum(), flat(dy).T @ flat(x), flat(dy).sum(0)
