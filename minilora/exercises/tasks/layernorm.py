"""Layer normalisation, forward and backward."""

from typing import Any, NamedTuple

import numpy

from minilora.exercises.runner.calls import Call, Kept, Partial
from minilora.exercises.task import Slopes, Task, replacing
from minilora.exercises.tasks.linear_backward import rows

SHAPES = ((2, 3, 5), (4, 6), (7,), (2, 2, 3, 4), (5, 5))  # in a square one, a missing axis goes unnoticed


class Cache(NamedTuple):
    xhat: Any
    inv_std: Any
    gain: Any


def calls(rng):
    """All forward passes, and then all backward: a cache belongs to one pass. The first backward is made twice."""
    forward = [
        Call(
            f"x of shape {shape}",
            "layernorm_forward",
            {
                "x": 2.0 * rng.standard_normal(shape) + float(rng.uniform(0.5, 2.0)),
                "gain": rng.uniform(0.5, 2.0, shape[-1]),
                "bias": rng.standard_normal(shape[-1]),
                "eps": float(rng.uniform(0.1, 0.4)),  # large, so that it shows where it is put
            },
            ("y", "cache"),
            ("cache",),
        )
        for shape in SHAPES
    ]
    return forward + [
        Call(
            f"x of shape {SHAPES[i]}{', after other forward passes' if n < len(SHAPES) else ', backward again'}",
            "layernorm_backward",
            {"dy": rng.standard_normal(SHAPES[i]), "cache": Kept(i, "cache")},
            ("dx", "dgain", "dbias"),
        )
        for n, i in enumerate((*range(len(SHAPES)), 0))
    ]


def mean(x):
    return x.mean(axis=-1, keepdims=True)


def total(x):
    return x.sum(axis=-1, keepdims=True)


def normalised(inverse):
    """A forward pass with another 1 / deviation, given the centred x and eps; the cache has it too."""

    def forward(x, gain, bias, eps):
        xc = x - mean(x)
        inv_std = inverse(xc, eps)
        return gain * (xc * inv_std) + bias, Cache(xc * inv_std, inv_std, gain)

    return forward


layernorm_forward = normalised(lambda xc, eps: 1.0 / numpy.sqrt(mean(xc**2) + eps))


def layernorm_backward(dy, cache):
    xhat, inv_std, gain = cache
    dxhat = dy * gain
    dx = inv_std * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))
    return dx, rows(dy * xhat).sum(axis=0), rows(dy).sum(axis=0)


def forward_as(change):
    return {"layernorm_forward": change}


def y_as(y):
    """The right cache, and another y: y(xhat, gain, bias, x)."""

    def forward(x, gain, bias, eps):
        cache = layernorm_forward(x, gain, bias, eps)[1]
        return y(cache.xhat, gain, bias, x), cache

    return forward_as(forward)


def gradients(change):
    return {"layernorm_backward": replacing(layernorm_backward, "dx", "dgain", "dbias")(change)}


def dx_as(inner):
    """dx = inv_std * inner(dxhat, xhat)."""
    return gradients(lambda dy, c: {"dx": c.inv_std * inner(dy * c.gain, c.xhat)})


def summed(axis):
    return gradients(lambda dy, c: {"dgain": (dy * c.xhat).sum(axis=axis), "dbias": dy.sum(axis=axis)})


def over_all_axes(x, gain, bias, eps):
    xc = x - x.mean()
    inv_std = 1.0 / numpy.sqrt((xc**2).mean() + eps)
    return gain * (xc * inv_std) + bias, Cache(xc * inv_std, inv_std, gain)


def over_first_axis(x, gain, bias, eps):
    xc = x - x.mean(axis=0, keepdims=True)
    inv_std = 1.0 / numpy.sqrt((xc**2).mean(axis=0, keepdims=True) + eps)
    return gain * (xc * inv_std) + bias, Cache(xc * inv_std, inv_std, gain)


def without_keepdims(x, gain, bias, eps):
    xc = x - x.mean(axis=-1)
    inv_std = 1.0 / numpy.sqrt((xc**2).mean(axis=-1) + eps)
    return gain * (xc * inv_std) + bias, Cache(xc * inv_std, inv_std, gain)


MUTANTS = [
    (
        "the one with eps added to the deviation; it is added to the variance, under the root",
        forward_as(normalised(lambda xc, eps: 1.0 / (numpy.sqrt(mean(xc**2)) + eps))),
    ),
    ("the one without eps", forward_as(normalised(lambda xc, eps: 1.0 / numpy.sqrt(mean(xc**2))))),
    ("the one with eps^2 for eps", forward_as(normalised(lambda xc, eps: 1.0 / numpy.sqrt(mean(xc**2) + eps**2)))),
    (
        "the one with eps = 1e-5: the eps that is given has no say in it",
        forward_as(normalised(lambda xc, eps: 1.0 / numpy.sqrt(mean(xc**2) + 1e-5))),
    ),
    (
        "the one with the variance divided by C - 1",
        forward_as(normalised(lambda xc, eps: 1.0 / numpy.sqrt(total(xc**2) / (xc.shape[-1] - 1) + eps))),
    ),
    (
        "the one with the sum of squares, where their mean belongs",
        forward_as(normalised(lambda xc, eps: 1.0 / numpy.sqrt(total(xc**2) + eps))),
    ),
    (
        "the one divided by the variance, where its root belongs",
        forward_as(normalised(lambda xc, eps: 1.0 / (mean(xc**2) + eps))),
    ),
    ("the one with mean and deviation of all of x, where each row has its own", forward_as(over_all_axes)),
    ("the one with mean and deviation over the first axis, where they go over the last", forward_as(over_first_axis)),
    ("the one without `keepdims=True`: a mean is taken from a column, not from its row", forward_as(without_keepdims)),
    ("xhat alone, without gain and bias", y_as(lambda xhat, gain, bias, x: xhat)),
    ("the one without the bias", y_as(lambda xhat, gain, bias, x: gain * xhat)),
    ("the one without the gain", y_as(lambda xhat, gain, bias, x: xhat + bias)),
    ("gain * (xhat + bias): the bias is not multiplied", y_as(lambda xhat, gain, bias, x: gain * (xhat + bias))),
    ("the one with gain and bias in each other's place", y_as(lambda xhat, gain, bias, x: bias * xhat + gain)),
    (
        "inv_std * dy * gain: as if mean and deviation did not depend on x",
        dx_as(lambda dxhat, xhat: dxhat),
    ),
    ("the one without mean(dxhat): x changes its row's mean too", dx_as(lambda d, xhat: d - xhat * mean(d * xhat))),
    (
        "the one without xhat * mean(dxhat * xhat): x changes its row's deviation too",
        dx_as(lambda d, xhat: d - mean(d)),
    ),
    (
        "the one with dy for dxhat: gain has no say in it",
        gradients(lambda dy, c: {"dx": layernorm_backward(dy, c._replace(gain=numpy.ones_like(c.gain)))[0]}),
    ),
    (
        "the one with sums over the row, where means belong",
        dx_as(lambda d, xhat: d - total(d) - xhat * total(d * xhat)),
    ),
    (
        "the one that is not multiplied by inv_std",
        gradients(lambda dy, c: {"dx": layernorm_backward(dy, c)[0] / c.inv_std}),
    ),
    ("the one multiplied by inv_std twice", gradients(lambda dy, c: {"dx": layernorm_backward(dy, c)[0] * c.inv_std})),
    (
        "the one with the two means added, where they are subtracted",
        dx_as(lambda d, xhat: d + mean(d) + xhat * mean(d * xhat)),
    ),
    ("the one with mean(dxhat * xhat) not multiplied by xhat", dx_as(lambda d, xhat: d - mean(d) - mean(d * xhat))),
    (
        "the one with xhat * mean(dxhat), where xhat * mean(dxhat * xhat) belongs",
        dx_as(lambda d, xhat: d - mean(d) - xhat * mean(d)),
    ),
    (
        "the one with means over all axes, where each row has its own",
        dx_as(lambda d, xhat: d - d.mean() - xhat * (d * xhat).mean()),
    ),
    (
        "the one with means over the first axis, where they go over the last",
        dx_as(lambda d, xhat: d - d.mean(axis=0, keepdims=True) - xhat * (d * xhat).mean(axis=0, keepdims=True)),
    ),
    ("the sum of dy, without xhat", gradients(lambda dy, c: {"dgain": rows(dy).sum(axis=0)})),
    (
        "the one multiplied by gain: y = gain * xhat, so dgain = dy * xhat",
        gradients(lambda dy, c: {"dgain": rows(dy * c.gain * c.xhat).sum(axis=0)}),
    ),
    (
        "the sum of dy * gain: bias is added after gain",
        gradients(lambda dy, c: {"dbias": rows(dy * c.gain).sum(axis=0)}),
    ),
    (
        "the mean over the rows, where their sum belongs",
        gradients(lambda dy, c: {"dgain": rows(dy * c.xhat).mean(axis=0), "dbias": rows(dy).mean(axis=0)}),
    ),
    ("the sum over the first axis alone, but all leading axes are rows", summed(0)),
    ("the sum over the last axis, which is the one that stays", summed(-1)),
    ("the one that is not summed over the rows", summed(())),
]


def slopes(rng):
    x, gain, bias = rng.standard_normal((3, 5)), rng.uniform(0.5, 2.0, 5), rng.standard_normal(5)
    given, dy = {"x": x, "gain": gain, "bias": bias, "eps": 0.1}, rng.standard_normal((3, 5))
    forward = Call("x of shape (3, 5)", "layernorm_forward", given, ("y", "cache"), ("cache",))
    backward = Call(
        "x of shape (3, 5)", "layernorm_backward", {"dy": dy, "cache": Kept(0, "cache")}, ("dx", "dgain", "dbias")
    )
    of = {f"d{name}": Partial("layernorm_forward", given, name) for name in ("x", "gain", "bias")}
    return Slopes([forward, backward], dy, of)


TASK = Task(
    {"layernorm_forward": layernorm_forward, "layernorm_backward": layernorm_backward}, calls, MUTANTS, slopes=slopes
)
