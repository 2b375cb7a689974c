import numpy as np

from exercises.attempts import Attempts

a = Attempts("cross_entropy_backward")


def onehot(p, t):
    return np.eye(p.shape[-1])[t]


@a.is_right("subtracts 1 at the targets")
def _(dloss, cache):
    p, t, m = cache
    d = p.copy()
    np.put_along_axis(d, t[..., None], np.take_along_axis(d, t[..., None], -1) - 1.0, -1)
    return d * m[..., None] * dloss / m.sum()


@a.is_right("a loop over positions")
def _(dloss, cache):
    p, t, m = cache
    d = np.zeros(p.shape)
    for i in np.ndindex(t.shape):
        if m[i]:
            d[i] = p[i]
            d[i][t[i]] -= 1
    return dloss * d / np.count_nonzero(m)


@a.is_right("where, flat")
def _(dloss, cache):
    p, t, m = cache
    P = p.reshape(-1, p.shape[-1])
    hot = (np.arange(P.shape[1]) == t.reshape(-1, 1)).astype(float)
    return (np.where(m.reshape(-1, 1), P - hot, 0.0) * (dloss / np.sum(m))).reshape(p.shape)


@a.is_right("the targets of masked places are not looked up")
def _(dloss, cache):
    p, t, m = cache
    d = np.zeros_like(p)
    d[m] = p[m] - onehot(p, t[m])
    return d * dloss / m.sum()


def wrong(why, *true, g):
    a.is_wrong(why, *true, cross_entropy_backward=lambda dloss, c: g(dloss, *c))


def w(dloss, m):
    return (dloss * m / m.sum())[..., None]


wrong("the vocabulary's mean", "divided by M V", g=lambda d, p, t, m: w(d, m) * (p - onehot(p, t)) / p.shape[-1])
wrong("p (p - y)", g=lambda d, p, t, m: w(d, m) * p * (p - onehot(p, t)))
wrong("of the squared error through softmax's diagonal", g=lambda d, p, t, m: w(d, m) * (p - onehot(p, t)) * p * (1 - p))
wrong("twice", "2 times", g=lambda d, p, t, m: 2 * w(d, m) * (p - onehot(p, t)))
wrong("log p - y", g=lambda d, p, t, m: w(d, m) * (np.log(p) - onehot(p, t)))
wrong("the target is next to the right one", g=lambda d, p, t, m: w(d, m) * (p - onehot(p, (t + 1) % p.shape[-1])))
wrong("the most likely one for the target", g=lambda d, p, t, m: w(d, m) * (p - onehot(p, p.argmax(-1))))
wrong("-1 at the target, and 0 elsewhere", "targets alone", g=lambda d, p, t, m: -w(d, m) * onehot(p, t))
wrong("p - 1 at the target alone", g=lambda d, p, t, m: w(d, m) * (p - 1) * onehot(p, t))
wrong("the mask is multiplied after the mean over all", "number of all positions", g=lambda d, p, t, m: d * m[..., None] * (p - onehot(p, t)) / t.size)
wrong("M twice", g=lambda d, p, t, m: d * m[..., None] * (p - onehot(p, t)) / m.sum() ** 2)
wrong("M and one more, so that nothing is divided by zero", "not always the same", g=lambda d, p, t, m: d * m[..., None] * (p - onehot(p, t)) / (m.sum() + 1))
wrong("M and 1e-6, so that nothing is divided by zero", g=lambda d, p, t, m: d * m[..., None] * (p - onehot(p, t)) / (m.sum() + 1e-6))
wrong("mean over the last axis of positions", g=lambda d, p, t, m: d * m[..., None] * (p - onehot(p, t)) / np.maximum(m.sum(-1, keepdims=True)[..., None], 1) if m.ndim else w(d, m) * (p - onehot(p, t)))
wrong("M from the first sequence", g=lambda d, p, t, m: d * m[..., None] * (p - onehot(p, t)) / (m[0].sum() if m.ndim > 1 else m.sum()))
wrong("only the counted rows are returned", g=lambda d, p, t, m: ((p - onehot(p, t)) * d / m.sum())[m])
wrong("the size of dloss without its sign", g=lambda d, p, t, m: abs(d) * w(1.0, m) * (p - onehot(p, t)))
wrong("dloss squared", "not always the same", g=lambda d, p, t, m: w(d * d, m) * (p - onehot(p, t)))
wrong("dloss is added", g=lambda d, p, t, m: w(1.0, m) * (p - onehot(p, t)) + d)
wrong("dloss at masked places", g=lambda d, p, t, m: np.where(m[..., None], w(d, m) * (p - onehot(p, t)), d))
wrong("label smoothing 0.1", g=lambda d, p, t, m: w(d, m) * (p - 0.9 * onehot(p, t) - 0.1 / p.shape[-1]))
wrong("prompts count, answers not: ~mask with its own count", g=lambda d, p, t, m: d * (~m / max((~m).sum(), 1))[..., None] * (p - onehot(p, t)))
wrong("the last position never counts", g=lambda d, p, t, m: w(d, m & (np.arange(m.shape[-1]) < m.shape[-1] - 1) if m.ndim else m) * (p - onehot(p, t)))
wrong("float32", "float32", g=lambda d, p, t, m: (w(d, m) * (p - onehot(p, t))).astype("f4"))
wrong("two axes are taken for granted", g=lambda d, p, t, m: w(d, m) * (p - np.array([[onehot(p, x) for x in row] for row in t])))
wrong("flat", "another shape", g=lambda d, p, t, m: (w(d, m) * (p - onehot(p, t))).reshape(-1, p.shape[-1]))
wrong("the loss", g=lambda d, p, t, m: d * -(np.log((p * onehot(p, t)).sum(-1)) * m).sum() / m.sum())


@a.is_wrong("probs in place, as in the fast version")
def _(dloss, cache):
    p, t, m = cache
    p -= onehot(p, t)
    p *= w(dloss, m)
    return p


@a.is_wrong("the targets that do not count are set to 0 in place")
def _(dloss, cache):
    p, t, m = cache
    t[~m] = 0
    return w(dloss, m) * (p - onehot(p, t))
