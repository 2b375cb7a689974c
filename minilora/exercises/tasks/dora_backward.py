"""The exact gradients of DoRA's linear map."""

import numpy

from minilora.exercises.task import Task, mistakes_in, named, replacing
from minilora.exercises.tasks.lora_linear_forward import matrices
from minilora.ops import DoRALinearCache, dora_linear_backward, dora_linear_forward
from minilora.ops.rows import rows

NAMES = ("dx", "dA", "dB", "dm")
CACHE = ("x", "h", "u", "W", "A", "B", "m", "norm", "V", "scale")


def points(rng):
    return {
        f"x of shape {(*leading, 5)}": matrices(rng, leading)
        | {"m": rng.uniform(0.5, 2.0, 4), "dy": rng.standard_normal((*leading, 4))}
        for leading in ((2, 6), (7,))
    }


def answer(f, dy, x, W, bias, A, B, scale, m):
    cache = dora_linear_forward(x, W, bias, A, B, m, scale)[1]
    return named("dora_backward", f.dora_backward(dy, tuple(getattr(cache, name) for name in CACHE)), *NAMES)


def right(dy, cache):
    return dora_linear_backward(dy, DoRALinearCache(*cache))


wrong = replacing(right, *NAMES)


def with_cache(**changes):
    """The right formulas on another cache."""

    def backward(dy, cache):
        c = DoRALinearCache(*cache)
        return dora_linear_backward(dy, c._replace(**{name: change(c) for name, change in changes.items()}))

    return backward


norm_constant = with_cache(V=lambda c: None)


@wrong
def dm_not_divided(dy, cache):
    c = DoRALinearCache(*cache)
    return {"dm": right(dy, cache)[3] * c.norm}


@wrong
def norm_term_with_the_wrong_sign(dy, cache):
    exact, constant = right(dy, cache), norm_constant(dy, cache)
    return {"dA": 2.0 * constant[1] - exact[1], "dB": 2.0 * constant[2] - exact[2]}


@wrong
def norm_term_not_cubed(dy, cache):
    c = DoRALinearCache(*cache)
    dgain = (rows(dy) * rows(c.u)).sum(axis=0)
    dV = (-dgain * c.m / c.norm**2)[:, None] * c.V
    _, dA, dB, _ = norm_constant(dy, cache)
    return {"dA": dA + c.scale * c.B.T @ dV, "dB": dB + c.scale * dV @ c.A.T}


@wrong
def dy_for_du(dy, cache):
    return dict(zip(NAMES[:3], with_cache(V=lambda c: None, m=lambda c: c.norm)(dy, cache)))


@wrong
def du_not_divided(dy, cache):
    return dict(zip(NAMES[:3], with_cache(V=lambda c: None, norm=lambda c: numpy.ones_like(c.norm))(dy, cache)))


MUTANTS = {
    "the one with the norm as a constant: as in PEFT and the DoRA paper; here it is differentiated": norm_constant,
    "LoRA's, with dy for du: y = u * (m / norm), so du = dy * (m / norm)": dy_for_du,
    "the one with du = dy * m: it is m / norm that multiplies u": du_not_divided,
    "the one that is not divided by norm": dm_not_divided,
    "the one with the wrong sign where the norm is differentiated: a longer V makes y smaller": (
        norm_term_with_the_wrong_sign
    ),
    "the one with norm^2 for norm^3: d norm / d V = V / norm gives one more": norm_term_not_cubed,
    "the one without alpha / r": with_cache(scale=lambda c: 1.0),
}
TASK = Task({"dora_backward": right}, points, answer, mistakes_in("dora_backward", MUTANTS))
