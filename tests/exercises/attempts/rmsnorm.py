import numpy as np

from exercises.attempts import Attempts

a = Attempts("rmsnorm_forward")


def mean(x):
    return x.mean(axis=-1, keepdims=True)


def forward(x, gain, eps):
    inv = 1 / np.sqrt(mean(x**2) + eps)
    return gain * x * inv, (x * inv, inv, gain)


def backward(dy, cache):
    xhat, inv, gain = cache
    d = dy * gain
    return inv * (d - xhat * mean(d * xhat)), (dy * xhat).sum(tuple(range(dy.ndim - 1)))


def is_right(why, f=forward, b=backward):
    a.is_right(why, rmsnorm_forward=f, rmsnorm_backward=b)


def wrong(why, *true, f=forward, b=backward):
    a.is_wrong(why, *true, rmsnorm_forward=f, rmsnorm_backward=b)


def y(why, *true, g):
    """Another y, from x, gain and eps; the cache is right."""
    wrong(why, *true, f=lambda x, gain, eps: (g(x, gain, eps), forward(x, gain, eps)[1]))


def grads(why, *true, g):
    """Other gradients, of those that g(dy, xhat, inv, gain) names."""

    def b(dy, cache):
        return tuple((dict(zip(("dx", "dgain"), backward(dy, cache))) | g(dy, *cache)).values())

    wrong(why, *true, b=b)


def chain(dy, cache):
    """Through the root, as the chain rule gives it."""
    xhat, inv, gain = cache
    x, d = xhat / inv, dy * gain
    dinv = (d * x).sum(-1, keepdims=True)
    return d * inv - dinv * inv**3 * x / x.shape[-1], np.einsum("mc,mc->c", *(v.reshape(-1, x.shape[-1]) for v in (dy, xhat)))


is_right("the chain rule, step by step", b=chain)
is_right("a dict for a cache", f=lambda x, g, e: (forward(x, g, e)[0], {"x": x, "gain": g, "eps": e}), b=lambda dy, c: backward(dy, forward(c["x"], c["gain"], c["eps"])[1]))
is_right("the norm of the row", f=lambda x, g, e: (lambda inv: (x * inv * g, (x * inv, inv, g)))((np.linalg.norm(x, axis=-1, keepdims=True) ** 2 / x.shape[-1] + e) ** -0.5))

y("divided by the norm of the row", g=lambda x, g, e: g * x / np.linalg.norm(x, axis=-1, keepdims=True))
y("the mean absolute value", g=lambda x, g, e: g * x / (mean(abs(x)) + e))
y("eps is subtracted", g=lambda x, g, e: g * x / np.sqrt(abs(mean(x**2) - e)))
y("eps squared", g=lambda x, g, e: g * x / np.sqrt(mean(x**2) + e**2))
y("eps twice", g=lambda x, g, e: g * x / (np.sqrt(mean(x**2) + e) + e))
y("divided by the gain", g=lambda x, g, e: x / np.sqrt(mean(x**2) + e) / g)
y("the square of the mean", g=lambda x, g, e: g * x / np.sqrt(mean(x) ** 2 + e))
y("multiplied by rms", g=lambda x, g, e: g * x * np.sqrt(mean(x**2) + e))
y("C - 1", g=lambda x, g, e: g * x / np.sqrt((x**2).sum(-1, keepdims=True) / (x.shape[-1] - 1) + e))
y("float32", "float32", g=lambda x, g, e: forward(x, g, e)[0].astype("f4"))
y("centred afterwards", g=lambda x, g, e: g * (x - mean(x)) / np.sqrt(mean(x**2) + e))
y("the last two axes", g=lambda x, g, e: g * x / np.sqrt((x**2).mean((-2, -1) if x.ndim > 1 else -1, keepdims=True) + e))
KEPT = {}
wrong("the cache of the last forward, in a global", f=lambda x, g, e: (KEPT.update(c=forward(x, g, e)[1]), forward(x, g, e)[0], None)[1:], b=lambda dy, c: backward(dy, KEPT["c"]))
grads("dx is y's", g=lambda dy, xhat, inv, gain: {"dx": gain * xhat})
grads("gain twice", g=lambda dy, xhat, inv, gain: {"dx": backward(dy * gain, (xhat, inv, gain))[0]})
grads("the mean is that of dy", g=lambda dy, xhat, inv, gain: {"dx": inv * (dy * gain - xhat * mean(dy * xhat))})
grads("C - 1 in the mean", g=lambda dy, xhat, inv, gain: (lambda d, n: {"dx": inv * (d - xhat * mean(d * xhat) * n)})(dy * gain, dy.shape[-1] / (dy.shape[-1] - 1)))
grads("inv cubed and xhat", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * d - inv**3 * xhat * mean(d * xhat)})(dy * gain))
grads("xhat squared", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * (d - xhat**2 * mean(d * xhat))})(dy * gain))
grads("the sign of the last term", "added, where it is subtracted", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * (d + xhat * mean(d * xhat))})(dy * gain))
grads("inv on the first term alone", "rms^2, where rms^3 belongs", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * d - xhat * mean(d * xhat)})(dy * gain))
grads("LayerNorm's first mean without the second", g=lambda dy, xhat, inv, gain: (lambda d: {"dx": inv * (d - mean(d))})(dy * gain))
grads("dgain with x's size: xhat / inv", "the sum of dy * x", g=lambda dy, xhat, inv, gain: {"dgain": backward(dy, (xhat / inv, inv, gain))[1]})
grads("dgain with keepdims", "another shape", g=lambda dy, xhat, inv, gain: {"dgain": (dy * xhat).reshape(-1, dy.shape[-1]).sum(0, keepdims=True)})
grads("dgain divided by gain", g=lambda dy, xhat, inv, gain: {"dgain": backward(dy, (xhat, inv, gain))[1] / gain})
grads("dx of the first row for all", g=lambda dy, xhat, inv, gain: {"dx": np.broadcast_to(backward(dy, (xhat, inv, gain))[0].reshape(-1, dy.shape[-1])[0], dy.shape)})
wrong("dgain, dx", "the right", b=lambda dy, c: backward(dy, c)[::-1])


def used_up(dy, cache):
    result = backward(dy, cache)
    cache[0][...] = 0.0
    return result


wrong("the cache is used up: xhat serves as a buffer", b=used_up)
