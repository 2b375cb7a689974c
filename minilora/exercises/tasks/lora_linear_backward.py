"""The gradients of y = x W^T + bias + scale (x A^T) B^T, with W and bias frozen."""

import numpy

from minilora.exercises.runner.calls import Call, Partial
from minilora.exercises.task import Slopes, Task, mistakes_in, replacing
from minilora.exercises.tasks.linear_backward import rows
from minilora.exercises.tasks.lora_linear_forward import matrices

NAMES = ("dx", "dA", "dB")
SHAPES = (((2, 6), 4, 5, 3), ((), 5, 4, 2), ((7,), 6, 5, 2), ((2, 3, 4), 5, 7, 3))  # leading axes, O, I, r


def calls(rng):
    given = {f"x of shape {(*leading, I)}": matrices(rng, leading, O, I, r) for leading, O, I, r in SHAPES}
    start = matrices(rng, (8,))
    given["x of shape (8, 5), and B = 0"] = start | {"B": numpy.zeros_like(start["B"])}
    return [
        Call(
            where,
            "lora_linear_backward",
            {
                "dy": rng.standard_normal((*m["x"].shape[:-1], len(m["W"]))),
                "cache": {"x": m["x"], "h": m["x"] @ m["A"].T, **{name: m[name] for name in ("W", "A", "B", "scale")}},
            },
            NAMES,
        )
        for where, m in given.items()
    ]


def right(dy, cache):
    x, h, W, A, B, scale = cache
    dh = scale * (dy @ B)
    return dy @ W + dh @ A, rows(dh).T @ rows(x), scale * (rows(dy).T @ rows(h))


wrong = replacing(right, *NAMES)


def with_scale(change):
    """The right formulas with another scale, change(scale, r)."""
    return lambda dy, cache: right(dy, (*cache[:5], change(cache[5], len(cache[3]))))


@wrong
def base_alone(dy, cache):
    return {"dx": dy @ cache[2]}


@wrong
def branch_alone(dy, cache):
    *_, A, B, scale = cache
    return {"dx": scale * (dy @ B) @ A}


@wrong
def mean(dy, cache):
    _, dA, dB = right(dy, cache)
    return {"dA": dA / len(rows(dy)), "dB": dB / len(rows(dy))}


@wrong
def mean_over_first(dy, cache):
    _, dA, dB = right(dy, cache)
    return {"dA": dA / len(dy), "dB": dB / len(dy)} if dy.ndim > 1 else {}


@wrong
def scaled_everywhere(dy, cache):
    dx, _, _ = right(dy, (*cache[:5], 1.0))
    return {"dx": cache[5] * dx}


@wrong
def branch_subtracted(dy, cache):
    return {"dx": dy @ cache[2] - cache[5] * (dy @ cache[4]) @ cache[3]}


@wrong
def without_dy(dy, cache):
    return dict(zip(NAMES, right(numpy.ones_like(dy), cache), strict=True))


@wrong
def not_summed(dy, cache):
    x, h, _, _, B, scale = cache
    outer = numpy.outer if dy.ndim == 1 else lambda a, b: a.swapaxes(-1, -2) @ b
    return {"dA": outer(scale * (dy @ B), x), "dB": scale * outer(dy, h)}


@wrong
def first_row(dy, cache):
    x, h, _, _, B, scale = cache
    row, of_x, of_h = rows(dy)[0], rows(x)[0], rows(h)[0]
    return {"dA": scale * numpy.outer(row @ B, of_x), "dB": scale * numpy.outer(row, of_h)}


MUTANTS = {
    "the one without alpha / r": with_scale(lambda scale, r: 1.0),
    "the one with alpha / r twice": with_scale(lambda scale, r: scale**2),
    "the one divided by alpha / r, where it multiplies": with_scale(lambda scale, r: 1.0 / scale),
    "the one with alpha / r divided by r again": with_scale(lambda scale, r: scale / r),
    "dy W alone, without LoRA's branch: correct only while B = 0": base_alone,
    "that of LoRA's branch alone: x is used twice, so its gradient is a sum": branch_alone,
    "the one with alpha / r on dy W too; it belongs to LoRA's branch alone": scaled_everywhere,
    "dy W less what LoRA's branch gives: the two are added": branch_subtracted,
    "the mean over the rows, where their sum belongs": mean,
    "the one divided by the length of the first axis; there is no mean in y": mean_over_first,
    "the one for an upstream gradient of ones: dy has no say in it": without_dy,
    "the one that is not summed over the leading axes": not_summed,
    "that of the first row alone": first_row,
}


def slopes(rng):
    m = matrices(rng, (6,))
    dy = rng.standard_normal((6, len(m["W"])))
    cache = {"x": m["x"], "h": m["x"] @ m["A"].T, **{name: m[name] for name in ("W", "A", "B", "scale")}}
    backward = Call("x of shape (6, 5)", "lora_linear_backward", {"dy": dy, "cache": cache}, NAMES)
    return Slopes([backward], dy, {f"d{name}": Partial("lora_linear_forward", m, name) for name in ("x", "A", "B")})


TASK = Task({"lora_linear_backward": right}, calls, mistakes_in("lora_linear_backward", MUTANTS), slopes=slopes)
