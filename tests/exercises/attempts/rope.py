import numpy as np

from exercises.attempts import Attempts

a = Attempts("rope_forward")


def table(p, theta, K):
    return np.outer(p, theta ** (-2 * np.arange(K // 2) / K))


def turn(x, w, sign=1):
    h = x.shape[-1] // 2
    u, v = x[..., :h], x[..., h:]
    return np.concatenate((u * np.cos(w) - sign * v * np.sin(w), sign * u * np.sin(w) + v * np.cos(w)), -1)


def forward(x, p, theta):
    return turn(x, table(p, theta, x.shape[-1]))


def backward(dy, p, theta):
    return turn(dy, table(p, theta, dy.shape[-1]), -1)


def is_right(why, f=forward, b=backward):
    a.is_right(why, rope_forward=f, rope_backward=b)


def wrong(why, *true, f=forward, b=backward):
    a.is_wrong(why, *true, rope_forward=f, rope_backward=b)


def by(why, *true, g):
    """Other angles, g(p, theta, K), in both passes."""
    wrong(why, *true, f=lambda x, p, theta: turn(x, g(p, theta, x.shape[-1])), b=lambda x, p, theta: turn(x, g(p, theta, x.shape[-1]), -1))


def rotate_half(x):
    h = x.shape[-1] // 2
    return np.concatenate((-x[..., h:], x[..., :h]), -1)


def hugging_face(x, p, theta, sign=1):
    w = table(p, theta, x.shape[-1])
    w = np.concatenate((w, w), -1)
    return x * np.cos(w) + sign * rotate_half(x) * np.sin(w)


def complex_numbers(x, p, theta, sign=1):
    h = x.shape[-1] // 2
    z = (x[..., :h] + 1j * x[..., h:]) * np.exp(sign * 1j * table(p, theta, x.shape[-1]))
    return np.concatenate((z.real, z.imag), -1)


def matrices(x, p, theta, back=False):
    """A K x K matrix for each position."""
    K = x.shape[-1]
    y = np.empty_like(x)
    for t, row in enumerate(table(p, theta, K)):
        R = np.zeros((K, K))
        for i, w in enumerate(row):
            j = i + K // 2
            R[[i, i, j, j], [i, j, i, j]] = np.cos(w), -np.sin(w), np.sin(w), np.cos(w)
        y[:, :, t] = x[:, :, t] @ (R if back else R.T)
    return y


is_right("as transformers has it", f=hugging_face, b=lambda dy, p, theta: hugging_face(dy, p, theta, -1))
is_right("complex numbers", f=complex_numbers, b=lambda dy, p, theta: complex_numbers(dy, p, theta, -1))
is_right("matrices", f=matrices, b=lambda dy, p, theta: matrices(dy, p, theta, True))
is_right("minus the positions", b=lambda dy, p, theta: forward(dy, -p, theta))

wrong("no backward at all", "dy itself", b=lambda dy, p, theta: dy.copy())
wrong("twice back", b=lambda dy, p, theta: backward(backward(dy, p, theta), p, theta))
wrong("only cos comes back", b=lambda dy, p, theta: dy * np.cos(np.tile(table(p, theta, dy.shape[-1]), 2)))
wrong("the derivative by the angle", b=lambda dy, p, theta: rotate_half(forward(dy, p, theta)))
wrong("float32", "float32", f=lambda x, p, theta: forward(x, p, theta).astype("f4"))
wrong("x is turned in place", f=lambda x, p, theta: (x.__setitem__(..., forward(x, p, theta)), x)[1])
wrong("no minus sign", f=lambda x, p, theta: (lambda h, w: np.concatenate((x[..., :h] * np.cos(w) + x[..., h:] * np.sin(w), x[..., :h] * np.sin(w) + x[..., h:] * np.cos(w)), -1))(x.shape[-1] // 2, table(p, theta, x.shape[-1])))
wrong("sin and cos in each other's place", f=lambda x, p, theta: turn(x, np.pi / 2 - table(p, theta, x.shape[-1])))
wrong("the halves are exchanged in the result", f=lambda x, p, theta: np.roll(forward(x, p, theta), x.shape[-1] // 2, -1))
wrong("sines are added, as in the first transformer", f=lambda x, p, theta: x + np.concatenate((np.sin(table(p, theta, x.shape[-1])), np.cos(table(p, theta, x.shape[-1]))), -1))
wrong("interleaved angles on halves", f=lambda x, p, theta: (lambda w: x * np.cos(w) + rotate_half(x) * np.sin(w))(np.repeat(table(p, theta, x.shape[-1]), 2, -1)))
wrong(
    "neighbours forward only",
    "pairs (2 i, 2 i + 1)",
    f=lambda x, p, theta: (lambda w: np.stack((x[..., ::2] * np.cos(w) - x[..., 1::2] * np.sin(w), x[..., ::2] * np.sin(w) + x[..., 1::2] * np.cos(w)), -1).reshape(x.shape))(table(p, theta, x.shape[-1])),
)
wrong("the first half alone is turned", f=lambda x, p, theta: np.concatenate((forward(x, p, theta)[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]), -1))
by("degrees", g=lambda p, theta, K: np.degrees(table(p, theta, K)))
by("the other direction", "the other way round", "turned by plus the angle", g=lambda p, theta, K: -table(p, theta, K))
by("i over K", "i is to be doubled", g=lambda p, theta, K: np.outer(p, theta ** (-np.arange(K // 2) / K)))
by("no minus in the exponent", "the exponent is negative", g=lambda p, theta, K: np.outer(p, theta ** (2 * np.arange(K // 2) / K)))
by("positions from 1", "one position more", g=lambda p, theta, K: table(p + 1, theta, K))
by("arange(T) for the positions", "positions from 0", g=lambda p, theta, K: table(np.arange(len(p)), theta, K))
by("whole positions", g=lambda p, theta, K: table(np.floor(p), theta, K))
by("2 pi", g=lambda p, theta, K: 2 * np.pi * table(p, theta, K))
by("the frequencies in reverse", "in reverse order", g=lambda p, theta, K: table(p, theta, K)[:, ::-1])
by("linspace with its end", g=lambda p, theta, K: np.outer(p, theta ** -np.linspace(0, 1, K // 2)))
by("K for K / 2 in the exponent's range", g=lambda p, theta, K: np.outer(p, theta ** (-2 * np.arange(K // 2) / (K // 2))))
by("theta as 10,000", "theta = 10000", g=lambda p, theta, K: table(p, 1e4, K))
by("each pair its own whole angle", g=lambda p, theta, K: np.outer(p, 1.0 + np.arange(K // 2)))
