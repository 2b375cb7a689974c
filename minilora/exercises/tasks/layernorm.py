"""Layer normalisation, forward and backward."""

import numpy

from minilora.exercises.task import Task, named, replacing
from minilora.ops import layernorm_backward, layernorm_forward, rows
from minilora.ops.fast.row_products import row_mean, row_sum

EPS = 0.1  # large, so that it shows where it is put


def points(rng):
    return {
        f"x of shape {shape}": {
            "x": 2.0 * rng.standard_normal(shape) + 1.0,
            "gain": rng.uniform(0.5, 2.0, shape[-1]),
            "bias": rng.standard_normal(shape[-1]),
            "dy": rng.standard_normal(shape),
        }
        for shape in ((2, 3, 5), (4, 6))
    }


def answer(f, x, gain, bias, dy):
    forward = named("layernorm_forward", f.layernorm_forward(x, gain, bias, EPS), "y", "cache")
    backward = named("layernorm_backward", f.layernorm_backward(dy, forward["cache"]), "dx", "dgain", "dbias")
    return {"y": forward["y"], **backward}


def normalised(deviation):
    """A forward pass with another deviation, given the centred x and eps; the cache is the right one."""

    def forward(x, gain, bias, eps):
        xc = x - x.mean(axis=-1, keepdims=True)
        return xc / deviation(xc, eps) * gain + bias, layernorm_forward(x, gain, bias, eps)[1]

    return {"layernorm_forward": forward}


def gradients(change):
    return {"layernorm_backward": replacing(layernorm_backward, "dx", "dgain", "dbias")(change)}


MUTANTS = {
    "the one with eps added to the deviation; it is added to the variance, under the root": normalised(
        lambda xc, eps: numpy.sqrt(row_mean(xc**2)) + eps
    ),
    "the one with the variance divided by C - 1": normalised(
        lambda xc, eps: numpy.sqrt(row_sum(xc**2) / (xc.shape[-1] - 1) + eps)
    ),
    "the one divided by the variance, where its root belongs": normalised(lambda xc, eps: row_mean(xc**2) + eps),
    "inv_std * dy * gain: as if mean and deviation did not depend on x": gradients(
        lambda dy, c: {"dx": c.inv_std * dy * c.gain}
    ),
    "the one without mean(dxhat): x changes its row's mean too": gradients(
        lambda dy, c: {"dx": c.inv_std * (dy * c.gain - c.xhat * row_mean(dy * c.gain * c.xhat))}
    ),
    "the one without xhat * mean(dxhat * xhat): x changes its row's deviation too": gradients(
        lambda dy, c: {"dx": c.inv_std * (dy * c.gain - row_mean(dy * c.gain))}
    ),
    "the one with dy for dxhat: gain has no say in it": gradients(
        lambda dy, c: {"dx": layernorm_backward(dy, c._replace(gain=numpy.ones_like(c.gain)))[0]}
    ),
    "the one with sums over the row, where means belong": gradients(
        lambda dy, c: {
            "dx": c.inv_std * (dy * c.gain - row_sum(dy * c.gain) - c.xhat * row_sum(dy * c.gain * c.xhat))
        }
    ),
    "the sum of dy, without xhat": gradients(lambda dy, c: {"dgain": rows(dy).sum(axis=0)}),
    "the mean over the rows, where their sum belongs": gradients(
        lambda dy, c: {"dgain": rows(dy * c.xhat).mean(axis=0), "dbias": rows(dy).mean(axis=0)}
    ),
}  # fmt: skip
TASK = Task({"layernorm_forward": layernorm_forward, "layernorm_backward": layernorm_backward}, points, answer, MUTANTS)
