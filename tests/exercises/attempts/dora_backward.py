import numpy as np

from exercises.attempts import Attempts

a = Attempts("dora_backward")


def flat(x):
    return x.reshape(-1, x.shape[-1])


def parts(dy, x, h, u, W, A, B, m, norm, V, s):
    """dgain, du and LoRA's three gradients."""
    du = dy * m / norm
    dh = s * du @ B
    return (flat(dy) * flat(u)).sum(0), du, du @ W + dh @ A, flat(dh).T @ flat(x), s * flat(du).T @ flat(h)


def right(dy, x, h, u, W, A, B, m, norm, V, s):
    dgain, _, dx, dA, dB = parts(dy, x, h, u, W, A, B, m, norm, V, s)
    dV = -(dgain * m / norm**3)[:, None] * V
    return dx, dA + s * B.T @ dV, dB + s * dV @ A.T, dgain / norm


def wrong(why, *true, g):
    """g gives some of the gradients, as a dict, or all."""

    def backward(dy, cache):
        made = g(dy, *cache)
        names = ("dx", "dA", "dB", "dm")
        return tuple((dict(zip(names, right(dy, *cache))) | made).values()) if isinstance(made, dict) else made

    a.is_wrong(why, *true, dora_backward=backward)


def through_V(why, *true, g):
    """dA and dB with another dV, g(dgain, W, m, norm, V, s)."""

    def made(dy, x, h, u, W, A, B, m, norm, V, s):
        dgain, _, _, dA, dB = parts(dy, x, h, u, W, A, B, m, norm, V, s)
        dV = g(dgain, W, m, norm, V, s)
        return {"dA": dA + s * B.T @ dV, "dB": dB + s * dV @ A.T}

    wrong(why, *true, g=made)


@a.is_right("through the full gradient of V")
def _(dy, cache):
    x, h, u, W, A, B, m, norm, V, s = cache
    G = flat(dy).T @ flat(x)  # of W' = m V / norm
    unit = V / norm[:, None]
    dm = (G * unit).sum(1)
    dV = (m / norm)[:, None] * (G - dm[:, None] * unit)
    return dy @ ((m / norm)[:, None] * V), s * B.T @ dV, s * dV @ A.T, dm


@a.is_right("einsum")
def _(dy, cache):
    x, h, u, W, A, B, m, norm, V, s = cache
    d, X, U = flat(dy), flat(x), flat(u)
    dgain = np.einsum("mo,mo->o", d, U)
    D = np.einsum("mo,mi->oi", d * (m / norm), X) - np.einsum("o,oi->oi", dgain * m / norm**3, V)
    return np.einsum("...o,oi->...i", dy * (m / norm), V), s * np.einsum("or,oi->ri", B, D), s * np.einsum("oi,ri->or", D, A), dgain / norm


a.is_right("as it is taught", dora_backward=lambda dy, c: right(dy, *c))

wrong("dm first", "the right", g=lambda *c: [right(*c)[i] for i in (3, 0, 1, 2)])
wrong("dA and dB in each other's place", "the right", g=lambda *c: [right(*c)[i] for i in (0, 2, 1, 3)])
wrong("dm is missing", g=lambda *c: right(*c)[:3])
wrong("dm has a row for each place", g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dm": flat(dy) * flat(u) / norm})
wrong("dm as a column", "another shape", g=lambda *c: {"dm": right(*c)[3][:, None]})
wrong("dm of dy u alone, one number", g=lambda dy, x, h, u, *c: {"dm": (dy * u).sum()})
wrong("dm with x W^T for u", g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dm": (flat(dy) * flat(x @ W.T)).sum(0) / norm})
wrong("dm is divided by m", g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dm": right(dy, x, h, u, W, A, B, m, norm, V, s)[3] / m})
wrong("dm by the mean norm", g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dm": (flat(dy) * flat(u)).sum(0) / norm.mean()})
wrong("dm: the sign", "-1 times", g=lambda *c: {"dm": -right(*c)[3]})
wrong("dx with V and the norm twice", g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dx": dy * m / norm**2 @ V})
wrong("dx with the scale twice", g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dx": dy * (m / norm) @ (W + s * s * B @ A)})
wrong("dx with V unscaled", g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dx": dy @ V})
wrong("dx less the part along V", g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dx": dy * (m / norm) @ V - (dy * u) @ V / (norm**2).sum()})
wrong("the batch is averaged", "not always the same", g=lambda dy, x, *c: {"dA": right(dy, x, *c)[1] / (flat(dy).shape[0] + 1)})
wrong("the norm's part in dA alone", "norm as a constant", g=lambda dy, *c: {"dB": parts(dy, *c)[4]})
wrong("the norm's part in dB alone", "norm as a constant", g=lambda dy, *c: {"dA": parts(dy, *c)[3]})
wrong("the norm's part alone", g=lambda dy, *c: {"dA": right(dy, *c)[1] - parts(dy, *c)[3]})
wrong("the whole is scaled once more", g=lambda dy, *c: {"dA": c[-1] * right(dy, *c)[1] + 0.1, "dB": c[-1] * right(dy, *c)[2] + 0.1})
wrong(
    "no scale in dV B^T",
    "without alpha / r where the norm",
    g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dA": parts(dy, x, h, u, W, A, B, m, norm, V, s)[3] + B.T @ (-(parts(dy, x, h, u, W, A, B, m, norm, V, s)[0] * m / norm**3)[:, None] * V)},
)
through_V("the norm of columns", g=lambda d, W, m, n, V, s: -(d * m / n**3)[:, None] * V / np.linalg.norm(V, axis=0))
through_V("dnorm without the sum over rows: its mean", g=lambda d, W, m, n, V, s: -(d.mean() * m / n**3)[:, None] * V)
through_V("half: as if of norm^2 / 2", g=lambda d, W, m, n, V, s: -0.5 * (d * m / n**3)[:, None] * V)
through_V("twice: as if of norm^2", g=lambda d, W, m, n, V, s: -2 * (d * m / n**3)[:, None] * V)
through_V("m squared", g=lambda d, W, m, n, V, s: -(d * m**2 / n**3)[:, None] * V)
through_V("norm^4", g=lambda d, W, m, n, V, s: -(d * m / n**4)[:, None] * V)
through_V("V - W for V", g=lambda d, W, m, n, V, s: -(d * m / n**3)[:, None] * (V - W))
through_V("unit V and no more", g=lambda d, W, m, n, V, s: V / n[:, None])
through_V("dm for dgain", g=lambda d, W, m, n, V, s: -(d / n * m / n**3)[:, None] * V)
through_V("m is learned as a factor: dnorm = 0 where m is norm", g=lambda d, W, m, n, V, s: -(d * (m - n) / n**3)[:, None] * V)
wrong("float32", "float32", g=lambda *c: tuple(g.astype("f4") for g in right(*c)))
wrong("three axes are taken for granted", g=lambda dy, x, h, u, W, A, B, m, norm, V, s: {"dm": np.einsum("nto,nto->o", dy, u) / norm})


@a.is_wrong("norm is squared in place")
def _(dy, cache):
    made = right(dy, *cache)
    cache[7][...] **= 2
    return made


@a.is_wrong("V is normalised in place")
def _(dy, cache):
    made = right(dy, *cache)
    V, norm = cache[8], cache[7]
    V /= norm[:, None]
    return made
