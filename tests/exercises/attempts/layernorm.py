import numpy as np

from exercises.attempts import Attempts

a = Attempts("layernorm_forward")


def mean(x):
    return x.mean(axis=-1, keepdims=True)


def forward(x, gain, bias, eps):
    xc = x - mean(x)
    inv = 1 / np.sqrt(mean(xc**2) + eps)
    return gain * xc * inv + bias, (xc * inv, inv, gain)


def backward(dy, cache):
    xhat, inv, gain = cache
    axes, d = tuple(range(dy.ndim - 1)), dy * gain
    return inv * (d - mean(d) - xhat * mean(d * xhat)), (dy * xhat).sum(axes), dy.sum(axes)


def is_right(why, f=forward, b=backward):
    a.is_right(why, layernorm_forward=f, layernorm_backward=b)


def wrong(why, *true, f=forward, b=backward):
    a.is_wrong(why, *true, layernorm_forward=f, layernorm_backward=b)


def y(why, *true, g):
    """Another y, from x, gain, bias and eps; the cache is right."""
    wrong(why, *true, f=lambda x, gain, bias, eps: (g(x, gain, bias, eps), forward(x, gain, bias, eps)[1]))


def grads(why, *true, g):
    """Other gradients, of those that g(dy, xhat, inv, gain) names."""

    def b(dy, cache):
        return tuple((dict(zip(("dx", "dgain", "dbias"), backward(dy, cache))) | g(dy, *cache)).values())

    wrong(why, *true, b=b)


is_right("NumPy's var", f=lambda x, g, b, e: ((x - mean(x)) / np.sqrt(x.var(-1, keepdims=True) + e) * g + b, ((x - mean(x)) / np.sqrt(x.var(-1, keepdims=True) + e), (x.var(-1, keepdims=True) + e) ** -0.5, g)))


def with_x(dy, cache):
    """The cache holds x, gain and eps, and all is computed anew."""
    return backward(dy, forward(cache["x"], cache["gain"], 0.0, cache["eps"])[1])


is_right("a dict for a cache", f=lambda x, g, b, e: (forward(x, g, b, e)[0], {"x": x, "gain": g, "eps": e}), b=with_x)


def chain(dy, cache):
    """Through the variance and the mean, as the chain rule gives it."""
    xhat, inv, gain = cache
    C, d, flat = dy.shape[-1], dy * gain, dy.reshape(-1, dy.shape[-1])
    xc = xhat / inv
    dvar = (d * xc).sum(-1, keepdims=True) * -0.5 * inv**3
    dmean = -(d * inv).sum(-1, keepdims=True)
    return d * inv + dvar * 2 * xc / C + dmean / C, (flat * xhat.reshape(flat.shape)).sum(0), np.ones(len(flat)) @ flat


is_right("the chain rule, step by step", b=chain)
is_right("einsum", b=lambda dy, c: (backward(dy, c)[0], np.einsum("mc,mc->c", dy.reshape(-1, dy.shape[-1]), c[0].reshape(-1, dy.shape[-1])), np.einsum("mc->c", dy.reshape(-1, dy.shape[-1]))))

y("RMSNorm: no mean is taken away", g=lambda x, g, b, e: g * x / np.sqrt(mean(x**2) + e) + b)
y("not centred, divided by the deviation", g=lambda x, g, b, e: g * x / np.sqrt(x.var(-1, keepdims=True) + e) + b)
y("centred alone", g=lambda x, g, b, e: g * (x - mean(x)) + b)
y("the mean absolute deviation", g=lambda x, g, b, e: g * (x - mean(x)) / (mean(abs(x - mean(x))) + e) + b)
y("the median", g=lambda x, g, b, e: g * (x - np.median(x, -1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + e) + b)
y("between 0 and 1", g=lambda x, g, b, e: g * (x - x.min(-1, keepdims=True)) / (np.ptp(x, -1, keepdims=True) + e) + b)
y("eps twice", g=lambda x, g, b, e: g * (x - mean(x)) / (np.sqrt(x.var(-1, keepdims=True) + e) + e) + b)
y("eps is subtracted", g=lambda x, g, b, e: g * (x - mean(x)) / np.sqrt(abs(x.var(-1, keepdims=True) - e)) + b)
y("eps in the numerator", "without eps", g=lambda x, g, b, e: g * (x - mean(x) + e) / np.sqrt(x.var(-1, keepdims=True)) + b)
y("1 + gain", g=lambda x, g, b, e: (1 + g) * (x - mean(x)) / np.sqrt(x.var(-1, keepdims=True) + e) + b)
y("the bias inside", "(xhat + bias)", g=lambda x, g, b, e: g * ((x - mean(x)) / np.sqrt(x.var(-1, keepdims=True) + e) + b))
y("the bias is subtracted", g=lambda x, g, b, e: g * (x - mean(x)) / np.sqrt(x.var(-1, keepdims=True) + e) - b)
y("divided by the gain", g=lambda x, g, b, e: (x - mean(x)) / np.sqrt(x.var(-1, keepdims=True) + e) / g + b)
y("float32", "float32", g=lambda x, g, b, e: forward(x, g, b, e)[0].astype("f4"))
y("the last two axes", g=lambda x, g, b, e: (lambda ax: g * (x - x.mean(ax, keepdims=True)) / np.sqrt(x.var(ax, keepdims=True) + e) + b)((-2, -1) if x.ndim > 1 else -1))
wrong("the cache of the last forward, in a global", f=lambda x, g, b, e: (KEPT.update(c=forward(x, g, b, e)[1]), forward(x, g, b, e)[0], None)[1:], b=lambda dy, c: backward(dy, KEPT["c"]))
KEPT = {}
grads("dx is y's", g=lambda dy, xhat, inv, gain: {"dx": gain * xhat})
grads("gain twice", g=lambda dy, xhat, inv, gain: {"dx": backward(dy * gain, (xhat, inv, gain))[0]})
grads("the means are those of dy", g=lambda dy, xhat, inv, gain: {"dx": inv * (dy * gain - mean(dy) - xhat * mean(dy * xhat))})
grads("C - 1 in the means", g=lambda dy, xhat, inv, gain: (lambda d, n: {"dx": inv * (d - mean(d) * n - xhat * mean(d * xhat) * n)})(dy * gain, dy.shape[-1] / (dy.shape[-1] - 1)))
grads("inv cubed", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * (d - mean(d)) - inv**3 * xhat * mean(d * xhat)})(dy * gain))
grads("xhat squared", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * (d - mean(d) - xhat**2 * mean(d * xhat))})(dy * gain))
grads("the sign of the last term", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * (d - mean(d) + xhat * mean(d * xhat))})(dy * gain))
grads("the sign of the mean", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * (d + mean(d) - xhat * mean(d * xhat))})(dy * gain))
grads("inv on the first term alone", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * d - mean(d) - xhat * mean(d * xhat)})(dy * gain))
grads("dgain and dbias in each other's place", "the right", "sum of dy, without xhat", g=lambda dy, xhat, inv, gain: {"dgain": backward(dy, (xhat, inv, gain))[2], "dbias": backward(dy, (xhat, inv, gain))[1]})
grads("dgain with x's size: xhat / inv", g=lambda dy, xhat, inv, gain: {"dgain": backward(dy, (xhat / inv, inv, gain))[1]})
grads("dgain with keepdims", "another shape", g=lambda dy, xhat, inv, gain: {"dgain": (dy * xhat).reshape(-1, dy.shape[-1]).sum(0, keepdims=True)})
grads("dbias counts the rows", g=lambda dy, xhat, inv, gain: {"dbias": np.full(dy.shape[-1], dy.size / dy.shape[-1])})
grads("the first two axes are summed", g=lambda dy, xhat, inv, gain: {"dbias": dy.sum((0, 1)) if dy.ndim > 2 else dy.sum(0)})
grads("dx of the first row for all", g=lambda dy, xhat, inv, gain: {"dx": np.broadcast_to(backward(dy, (xhat, inv, gain))[0].reshape(-1, dy.shape[-1])[0], dy.shape)})
grads("gradients are clipped", g=lambda dy, xhat, inv, gain: {"dx": np.clip(backward(dy, (xhat, inv, gain))[0], -0.2, 0.2)})


def in_place(x, gain, bias, eps):
    x -= mean(x)
    return forward(x, gain, bias, eps)


wrong("x is centred in place", f=in_place)


def used_up(dy, cache):
    xhat, inv, gain = cache
    result = backward(dy, cache)
    xhat *= 0.0
    return result


wrong("the cache is used up: xhat serves as a buffer", b=used_up)
