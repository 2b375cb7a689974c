"""The exact gradients of DoRA's linear map."""

from typing import Any, NamedTuple

import numpy

from minilora.exercises.runner.calls import Call, Partial
from minilora.exercises.task import Slopes, Task, mistakes_in, replacing
from minilora.exercises.tasks.linear_backward import rows
from minilora.exercises.tasks.lora_linear_forward import matrices

NAMES = ("dx", "dA", "dB", "dm")
SHAPES = (((2, 6), 4, 5, 3), ((7,), 6, 4, 2), ((), 5, 7, 2), ((2, 3, 4), 4, 6, 3))  # leading axes, O, I, r


class Cache(NamedTuple):
    x: Any
    h: Any
    u: Any
    W: Any
    A: Any
    B: Any
    m: Any
    norm: Any
    V: Any
    scale: float


def calls(rng):
    given = []
    for leading, O, I, r in SHAPES:
        m = matrices(rng, leading, O, I, r)
        x, W, A, B, scale = (m[name] for name in ("x", "W", "A", "B", "scale"))
        V, h = W + scale * B @ A, x @ A.T
        norm = numpy.linalg.norm(V, axis=1)
        cache = Cache(x, h, x @ W.T + scale * h @ B.T, W, A, B, rng.uniform(0.5, 2.0, O), norm, V, scale)
        dy = rng.standard_normal((*leading, O))
        given.append(Call(f"x of shape {(*leading, I)}", "dora_backward", {"dy": dy, "cache": cache._asdict()}, NAMES))
    return given


def lora(du, c):
    """dx, dA and dB of u = x W^T + scale h B^T."""
    dh = c.scale * (du @ c.B)
    return du @ c.W + dh @ c.A, rows(dh).T @ rows(c.x), c.scale * (rows(du).T @ rows(c.h))


def dgain_of(dy, c):
    return (rows(dy) * rows(c.u)).sum(axis=0)


def with_dV(dV_of):
    """The gradients with another dV, dV_of(dgain, cache)."""

    def backward(dy, cache):
        c = Cache(*cache)
        dgain = dgain_of(dy, c)
        dx, dA, dB = lora(dy * (c.m / c.norm), c)
        dV = dV_of(dgain, c)
        return dx, dA + c.scale * (c.B.T @ dV), dB + c.scale * (dV @ c.A.T), dgain / c.norm

    return backward


right = with_dV(lambda dgain, c: (-dgain * c.m / c.norm**3)[:, None] * c.V)
wrong = replacing(right, *NAMES)


def dV_as(dV_of):
    """dA and dB with another dV."""
    return wrong(lambda dy, cache: dict(zip(NAMES[1:3], with_dV(dV_of)(dy, cache)[1:3], strict=True)))


def dm_as(change):
    return wrong(lambda dy, cache: {"dm": change(dy, Cache(*cache), right(dy, cache)[3])})


def lora_alone(du_of):
    """dx, dA and dB as LoRA's, with du_of(dy, cache) as the upstream gradient; the norm is taken as a constant."""
    return wrong(lambda dy, cache: dict(zip(NAMES[:3], lora(du_of(dy, Cache(*cache)), Cache(*cache)), strict=True)))


def exact_with(du_of):
    """dx, dA and dB with du_of(dy, cache) for du; the norm is differentiated."""

    def change(dy, cache):
        c = Cache(*cache)
        constant, exact = lora(dy * (c.m / c.norm), c), right(dy, cache)
        parts = zip(lora(du_of(dy, c), c), exact[:3], constant, strict=True)
        return dict(zip(NAMES[:3], (a + e - b for a, e, b in parts), strict=True))

    return wrong(change)


@wrong
def without_scale_in_dV(dy, cache):
    c = Cache(*cache)
    _, dA, dB = lora(dy * (c.m / c.norm), c)
    _, exact_dA, exact_dB, _ = right(dy, cache)
    return {"dA": dA + (exact_dA - dA) / c.scale, "dB": dB + (exact_dB - dB) / c.scale}


def without_scale(dy, cache):
    return right(dy, (*cache[:-1], 1.0))


@wrong
def base_alone(dy, cache):
    c = Cache(*cache)
    return {"dx": dy * (c.m / c.norm) @ c.W}


@wrong
def base_unscaled(dy, cache):
    return {"dx": dy @ cache[3]}


MUTANTS = {
    "the one with the norm as a constant: as in PEFT and the DoRA paper; here it is differentiated": dV_as(
        lambda dgain, c: 0.0 * c.V
    ),
    "LoRA's, with dy for du: y = u * (m / norm), so du = dy * (m / norm)": lora_alone(lambda dy, c: dy),
    "the one with du = dy * m, and the norm as a constant: it is m / norm that multiplies u": lora_alone(
        lambda dy, c: dy * c.m
    ),
    "the one with du = dy / norm, and the norm as a constant: it is m / norm that multiplies u": lora_alone(
        lambda dy, c: dy / c.norm
    ),
    "the one with du = dy: y = u * (m / norm), so du = dy * (m / norm)": exact_with(lambda dy, c: dy),
    "the one with du = dy * m: it is m / norm that multiplies u": exact_with(lambda dy, c: dy * c.m),
    "the one with du = dy / norm: it is m / norm that multiplies u": exact_with(lambda dy, c: dy / c.norm),
    "the one that is not divided by norm": dm_as(lambda dy, c, dm: dm * c.norm),
    "the one divided by norm^2": dm_as(lambda dy, c, dm: dm / c.norm),
    "the one multiplied by m: y = m * (u / norm), so dm = dy * u / norm": dm_as(lambda dy, c, dm: dm * c.m),
    "the one with y - bias for u: it has m in it": dm_as(lambda dy, c, dm: dm * c.m / c.norm),
    "the mean over the rows, where their sum belongs": dm_as(lambda dy, c, dm: dm / len(rows(dy))),
    "the sum over the first axis alone, but all leading axes are rows": dm_as(
        lambda dy, c, dm: (dy * c.u).sum(axis=0) / c.norm
    ),
    "the sum of dy / norm, without u": dm_as(lambda dy, c, dm: rows(dy).sum(axis=0) / c.norm),
    "the one with the wrong sign where the norm is differentiated: a longer V makes y smaller": dV_as(
        lambda dgain, c: (dgain * c.m / c.norm**3)[:, None] * c.V
    ),
    "the one with norm^2 for norm^3: d norm / d V = V / norm gives one more": dV_as(
        lambda dgain, c: (-dgain * c.m / c.norm**2)[:, None] * c.V
    ),
    "the one with norm for norm^3: 1 / norm has the derivative -1 / norm^2, and d norm / d V = V / norm": dV_as(
        lambda dgain, c: (-dgain * c.m / c.norm)[:, None] * c.V
    ),
    "the one without m where the norm is differentiated: gain = m / norm": dV_as(
        lambda dgain, c: (-dgain / c.norm**3)[:, None] * c.V
    ),
    "the one with W for V where the norm is differentiated: the norm is that of W + scale B A": dV_as(
        lambda dgain, c: (-dgain * c.m / c.norm**3)[:, None] * c.W
    ),
    "the one without alpha / r where the norm is differentiated: V = W + scale B A": without_scale_in_dV,
    "the one without alpha / r": without_scale,
    "du W alone, without LoRA's branch": base_alone,
    "dy W alone": base_unscaled,
}


def slopes(rng):
    m = matrices(rng, (6,))
    x, W, A, B, scale = (m[name] for name in ("x", "W", "A", "B", "scale"))
    V, h, dy = W + scale * B @ A, x @ A.T, rng.standard_normal((6, len(W)))
    magnitude, norm = rng.uniform(0.5, 2.0, len(W)), numpy.linalg.norm(V, axis=1)
    cache = Cache(x, h, x @ W.T + scale * h @ B.T, W, A, B, magnitude, norm, V, scale)
    backward = Call("x of shape (6, 5)", "dora_backward", {"dy": dy, "cache": cache._asdict()}, NAMES)
    given = {"x": x, "W": W, "A": A, "B": B, "m": magnitude, "scale": scale}
    return Slopes([backward], dy, {f"d{name}": Partial("DoRA", given, name) for name in ("x", "A", "B", "m")})


TASK = Task({"dora_backward": right}, calls, mistakes_in("dora_backward", MUTANTS), slopes=slopes)
