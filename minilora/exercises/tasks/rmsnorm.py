"""RMSNorm, forward and backward."""

from typing import Any, NamedTuple

import numpy

from minilora.exercises.runner.calls import Call, Kept, Partial
from minilora.exercises.task import Slopes, Task, replacing
from minilora.exercises.tasks.layernorm import mean, total
from minilora.exercises.tasks.linear_backward import rows

SHAPES = ((2, 3, 5), (4, 6), (7,), (2, 2, 3, 4), (5, 5))  # in a square one, a missing axis goes unnoticed


class Cache(NamedTuple):
    x: Any
    inv_rms: Any
    gain: Any


def calls(rng):
    """All forward passes, and then all backward: a cache belongs to one pass. The first backward is made twice."""
    forward = [
        Call(
            f"x of shape {shape}",
            "rmsnorm_forward",
            {
                "x": 2.0 * rng.standard_normal(shape) + float(rng.uniform(0.5, 2.0)),
                "gain": rng.uniform(0.5, 2.0, shape[-1]),
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
            "rmsnorm_backward",
            {"dy": rng.standard_normal(SHAPES[i]), "cache": Kept(i, "cache")},
            ("dx", "dgain"),
        )
        for n, i in enumerate((*range(len(SHAPES)), 0))
    ]


def divided_by(inverse):
    """A forward pass with another 1 / rms, inverse(x, eps); the cache has it too."""

    def forward(x, gain, eps):
        inv_rms = inverse(x, eps)
        return gain * (x * inv_rms), Cache(x, inv_rms, gain)

    return forward


rmsnorm_forward = divided_by(lambda x, eps: 1.0 / numpy.sqrt(mean(x**2) + eps))


def rmsnorm_backward(dy, cache):
    x, inv_rms, gain = cache
    xhat, dxhat = x * inv_rms, dy * gain
    return inv_rms * (dxhat - xhat * mean(dxhat * xhat)), rows(dy * xhat).sum(axis=0)


def forward_as(change):
    return {"rmsnorm_forward": change}


def y_as(y):
    """The right cache, and another y: y(xhat, gain, x)."""

    def forward(x, gain, eps):
        cache = rmsnorm_forward(x, gain, eps)[1]
        return y(x * cache.inv_rms, gain, x), cache

    return forward_as(forward)


def gradients(change):
    """Other gradients, of those that change(dy, x, xhat, inv_rms, gain) names."""

    def given(dy, cache):
        x, inv_rms, gain = cache
        return change(dy, x, x * inv_rms, inv_rms, gain)

    return {"rmsnorm_backward": replacing(rmsnorm_backward, "dx", "dgain")(given)}


def dx_as(dx):
    """dx(dxhat, x, xhat, inv_rms)."""
    return gradients(lambda dy, x, xhat, inv_rms, gain: {"dx": dx(dy * gain, x, xhat, inv_rms)})


def dgain_as(dgain):
    """dgain(dy, x, xhat, gain)."""
    return gradients(lambda dy, x, xhat, inv_rms, gain: {"dgain": dgain(dy, x, xhat, gain)})


def centred(x, gain, eps):
    return rmsnorm_forward(x - mean(x), gain, eps)


MUTANTS = [
    ("that of LayerNorm without a bias: RMSNorm takes no mean away", forward_as(centred)),
    (
        "the one divided by the standard deviation: in rms, the mean is not taken away first",
        forward_as(divided_by(lambda x, eps: 1.0 / numpy.sqrt(x.var(axis=-1, keepdims=True) + eps))),
    ),
    (
        "the one with eps added to the root; it is added to the mean square, under the root",
        forward_as(divided_by(lambda x, eps: 1.0 / (numpy.sqrt(mean(x**2)) + eps))),
    ),
    ("the one without eps", forward_as(divided_by(lambda x, eps: 1.0 / numpy.sqrt(mean(x**2))))),
    (
        "the one with eps = 1e-5: the eps that is given has no say in it",
        forward_as(divided_by(lambda x, eps: 1.0 / numpy.sqrt(mean(x**2) + 1e-5))),
    ),
    (
        "the one with the sum of squares, where their mean belongs",
        forward_as(divided_by(lambda x, eps: 1.0 / numpy.sqrt(total(x**2) + eps))),
    ),
    (
        "the one divided by the mean square, where its root belongs",
        forward_as(divided_by(lambda x, eps: 1.0 / (mean(x**2) + eps))),
    ),
    (
        "the one with the mean square of all of x, where each row has its own",
        forward_as(divided_by(lambda x, eps: 1.0 / numpy.sqrt((x**2).mean() + eps))),
    ),
    (
        "the one with means over the first axis, where they go over the last",
        forward_as(divided_by(lambda x, eps: 1.0 / numpy.sqrt((x**2).mean(axis=0, keepdims=True) + eps))),
    ),
    (
        "the one without `keepdims=True`: a root is taken from a column, not from its row",
        forward_as(divided_by(lambda x, eps: 1.0 / numpy.sqrt((x**2).mean(axis=-1) + eps))),
    ),
    ("xhat alone, without the gain", y_as(lambda xhat, gain, x: xhat)),
    ("the one with 1 + gain for gain, as Gemma has it", y_as(lambda xhat, gain, x: (1.0 + gain) * xhat)),
    ("gain * x: nothing is normalised", y_as(lambda xhat, gain, x: gain * x)),
    (
        "inv_rms * dy * gain: as if rms did not depend on x",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * dxhat),
    ),
    (
        "that of LayerNorm, with three terms: no mean was taken away, so none of dxhat is",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))),
    ),
    (
        "the one with the mean divided by C once more",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * (dxhat - xhat * mean(dxhat * xhat) / x.shape[-1])),
    ),
    (
        "the one with a sum over the row, where the mean belongs",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * (dxhat - xhat * total(dxhat * xhat))),
    ),
    (
        "the one with rms^2, where rms^3 belongs: x stands where xhat should",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * dxhat - x * inv_rms**2 * mean(dxhat * x)),
    ),
    (
        "the one with x for xhat, twice: its square is not divided by rms^2",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * (dxhat - x * mean(dxhat * x))),
    ),
    (
        "the one with the second term added, where it is subtracted",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * (dxhat + xhat * mean(dxhat * xhat))),
    ),
    (
        "the one with mean(dxhat * xhat) not multiplied by xhat",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * (dxhat - mean(dxhat * xhat))),
    ),
    (
        "the one with xhat * mean(dxhat), where xhat * mean(dxhat * xhat) belongs",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * (dxhat - xhat * mean(dxhat))),
    ),
    (
        "the one that is not multiplied by inv_rms",
        dx_as(lambda dxhat, x, xhat, inv_rms: dxhat - xhat * mean(dxhat * xhat)),
    ),
    (
        "the one multiplied by inv_rms twice",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms**2 * (dxhat - xhat * mean(dxhat * xhat))),
    ),
    (
        "the one with dy for dxhat: gain has no say in it",
        gradients(
            lambda dy, x, xhat, inv_rms, gain: {"dx": rmsnorm_backward(dy, (x, inv_rms, numpy.ones_like(gain)))[0]}
        ),
    ),
    (
        "the one with the mean over all axes, where each row has its own",
        dx_as(lambda dxhat, x, xhat, inv_rms: inv_rms * (dxhat - xhat * (dxhat * xhat).mean())),
    ),
    ("the sum of dy, without xhat", dgain_as(lambda dy, x, xhat, gain: rows(dy).sum(axis=0))),
    ("the sum of dy * x: gain is multiplied by xhat", dgain_as(lambda dy, x, xhat, gain: rows(dy * x).sum(axis=0))),
    (
        "the one multiplied by gain: y = gain * xhat, so dgain = dy * xhat",
        dgain_as(lambda dy, x, xhat, gain: rows(dy * gain * xhat).sum(axis=0)),
    ),
    (
        "the mean over the rows, where their sum belongs",
        dgain_as(lambda dy, x, xhat, gain: rows(dy * xhat).mean(axis=0)),
    ),
    (
        "the sum over the first axis alone, but all leading axes are rows",
        dgain_as(lambda dy, x, xhat, gain: (dy * xhat).sum(axis=0)),
    ),
    ("the one that is not summed over the rows", dgain_as(lambda dy, x, xhat, gain: dy * xhat)),
]


def slopes(rng):
    given = {"x": rng.standard_normal((3, 5)), "gain": rng.uniform(0.5, 2.0, 5), "eps": 0.1}
    dy = rng.standard_normal((3, 5))
    forward = Call("x of shape (3, 5)", "rmsnorm_forward", given, ("y", "cache"), ("cache",))
    backward = Call("x of shape (3, 5)", "rmsnorm_backward", {"dy": dy, "cache": Kept(0, "cache")}, ("dx", "dgain"))
    of = {f"d{name}": Partial("rmsnorm_forward", given, name) for name in ("x", "gain")}
    return Slopes([forward, backward], dy, of)


TASK = Task({"rmsnorm_forward": rmsnorm_forward, "rmsnorm_backward": rmsnorm_backward}, calls, MUTANTS, slopes=slopes)
