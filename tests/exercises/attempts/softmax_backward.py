import numpy as np

from exercises.attempts import Attempts

a = Attempts("softmax_backward")


def jacobian_of(p):
    return np.diag(p) - np.outer(p, p)


@a.is_right("the Jacobian of each row")
def _(d, cache):
    p = cache[0]
    dx = np.empty(p.shape)
    for i in np.ndindex(p.shape[:-1]):
        dx[i] = jacobian_of(p[i]) @ d[i]
    return dx


a.is_right("einsum for the sum", softmax_backward=lambda d, c: c[0] * (d - np.einsum("...v,...v->...", d, c[0])[..., None]))
a.is_right("two products apart", softmax_backward=lambda d, c: d * c[0] - c[0] * (d * c[0]).sum(-1, keepdims=True))
a.is_right("all Jacobians at once", softmax_backward=lambda d, c: (c[0][..., None] * np.eye(c[0].shape[-1]) * d[..., None, :]).sum(-1) - c[0] * (c[0] * d).sum(-1)[..., None])
a.is_right("the mean times V", softmax_backward=lambda d, c: c[0] * (d - d.shape[-1] * np.mean(d * c[0], -1, keepdims=True)))


def wrong(why, *true, g):
    a.is_wrong(why, *true, softmax_backward=lambda d, c: g(d, c[0]))


def s(x):
    return x.sum(-1, keepdims=True)


wrong("-", "-1 times", g=lambda d, p: -p * (d - s(d * p)))
wrong("probs for dprobs in the sum", g=lambda d, p: p * (d - s(p * p)))
wrong("dprobs squared in the sum", g=lambda d, p: p * (d - s(d * d)))
wrong("the largest in place of the sum", g=lambda d, p: p * (d - (d * p).max(-1, keepdims=True)))
wrong("norm in place of the sum", g=lambda d, p: p * (d - np.sqrt(s((d * p) ** 2))))
wrong("1 - probs for the whole bracket", g=lambda d, p: p * (1 - p))
wrong("probs (1 - probs) (dprobs - sum)", g=lambda d, p: p * (1 - p) * (d - s(d * p)))
wrong("dprobs (dprobs - sum)", g=lambda d, p: d * (d - s(d * p)))
wrong("probs (dprobs - probs)", g=lambda d, p: p * (d - p))
wrong("probs - dprobs", g=lambda d, p: p - d)
wrong("log probs", g=lambda d, p: np.log(p) * (d - s(d * p)))
wrong("divided by probs", g=lambda d, p: (d - s(d * p)) / p)
wrong("the bracket is squared", g=lambda d, p: p * (d - s(d * p)) ** 2)
wrong("the sum is divided by the length less 1", g=lambda d, p: p * (d - s(d * p) / (d.shape[-1] - 1)))
wrong("the sum leaves its own entry out", g=lambda d, p: p * (d - (s(d * p) - d * p)))
wrong("the row's mean is taken from the result", g=lambda d, p: (g := p * d) - g.mean(-1, keepdims=True))
wrong("softmax of dprobs", g=lambda d, p: np.exp(d) / s(np.exp(d)))
wrong("the sum is over the rows of a batch alone: reshaped", g=lambda d, p: p * (d - (d * p).reshape(len(d), -1).sum(-1).reshape(-1, *[1] * (d.ndim - 1))) if d.ndim > 2 else p * (d - s(d * p)))
wrong("clipped, so that it does not explode", g=lambda d, p: np.clip(p * (d - s(d * p)), -0.1, 0.1))
wrong("with 1e-4 for stability", g=lambda d, p: (p + 1e-4) * (d - s(d * p)))
wrong("float32", "float32", g=lambda d, p: (p * (d - s(d * p))).astype(np.float32))
wrong("zeros", "zero everywhere", g=lambda d, p: np.zeros_like(p))
wrong("the Jacobian itself", g=lambda d, p: p[..., None] * np.eye(p.shape[-1]) - p[..., None] * p[..., None, :])
wrong("a list", g=lambda d, p: (p * (d - s(d * p))).tolist())
wrong("temperature 2", "0.5 times", g=lambda d, p: p * (d - s(d * p)) / 2)
wrong("two axes are taken for granted", g=lambda d, p: p * (d - (d * p).sum(axis=1, keepdims=True)))
wrong("the batch is averaged", "not always the same", g=lambda d, p: p * (d - s(d * p)) / len(p))
wrong("flattened", "another shape", g=lambda d, p: (p * (d - s(d * p))).ravel())


@a.is_wrong("probs are changed in place")
def _(d, cache):
    p = cache[0]
    dx = p * (d - s(d * p))
    p *= d
    return dx


@a.is_wrong("dprobs are changed in place")
def _(d, cache):
    d -= s(d * cache[0])
    return cache[0] * d
