"""Rotary positions (RoPE), forward and backward."""

import numpy

from minilora.exercises.runner.calls import Call, Partial
from minilora.exercises.task import Slopes, Task

# N, H, T, K, and the position that the first token has
SHAPES = ((2, 3, 4, 6, 0), (1, 2, 5, 4, 3), (3, 1, 1, 8, 7), (4, 4, 4, 4, 1))  # in the last, axes pass for each other


def calls(rng):
    given = []
    for N, H, T, K, start in SHAPES:
        where = f"x of shape ({N}, {H}, {T}, {K}), the first position {start}"
        for function, array, made in (("rope_forward", "x", "y"), ("rope_backward", "dy", "dx")):
            arguments = {
                array: rng.standard_normal((N, H, T, K)),
                "positions": start + float(rng.uniform(0.0, 0.5)) + numpy.arange(T),  # they need not be whole numbers
                "theta": float(rng.uniform(50.0, 500.0)),
            }
            given.append(Call(where, function, arguments, (made,)))
    return given


def angles(positions, theta, K):
    return positions[:, None] * theta ** (-2.0 * numpy.arange(K // 2) / K)  # (T, K / 2)


def halves(x):
    return x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]


def rotated(x, angle):
    """Each pair (i, i + K / 2) of x turned by its angle, (T, K / 2)."""
    a, b = halves(x)
    cos, sin = numpy.cos(angle), numpy.sin(angle)
    return numpy.concatenate((a * cos - b * sin, a * sin + b * cos), axis=-1)


def neighbours(x, angle):
    """Pairs (2 i, 2 i + 1) for (i, i + K / 2)."""
    a, b = x[..., 0::2], x[..., 1::2]
    cos, sin = numpy.cos(angle), numpy.sin(angle)
    return numpy.stack((a * cos - b * sin, a * sin + b * cos), axis=-1).reshape(x.shape)


def reflected(x, angle):
    a, b = halves(x)
    cos, sin = numpy.cos(angle), numpy.sin(angle)
    return numpy.concatenate((a * cos - b * sin, b * cos - a * sin), axis=-1)


def rope_forward(x, positions, theta):
    return rotated(x, angles(positions, theta, x.shape[-1]))


def rope_backward(dy, positions, theta):
    return rotated(dy, -angles(positions, theta, dy.shape[-1]))


def both(turn=rotated, by=angles):
    """Forward and backward with another rotation, or by other angles."""
    return {
        "rope_forward": lambda x, positions, theta: turn(x, by(positions, theta, x.shape[-1])),
        "rope_backward": lambda dy, positions, theta: turn(dy, -by(positions, theta, dy.shape[-1])),
    }


def frequencies(exponents):
    """Angles from other exponents of theta, exponents(i, K)."""
    return lambda positions, theta, K: positions[:, None] * theta ** exponents(numpy.arange(K // 2), K)


def backward_as(change):
    return {"rope_backward": lambda dy, positions, theta: change(dy, angles(positions, theta, dy.shape[-1]))}


def transposed(dy, angle):
    """The rotation by minus the angle, with its two halves in each other's place."""
    return numpy.concatenate(halves(rotated(dy, -angle))[::-1], axis=-1)


def scaled(dy, angle):
    return rotated(dy, -angle) / dy.shape[-1]


def over_heads(x, angle):
    """Positions along the axis of the heads, where they fit."""
    return rotated(x.swapaxes(1, 2), angle[: x.shape[1], None] if x.shape[1] <= len(angle) else angle[:1]).swapaxes(
        1, 2
    )


MUTANTS = [
    ("the one turned by plus the angle: the backward of a rotation turns back", backward_as(rotated)),
    ("dy itself: the rotation is not taken back", backward_as(lambda dy, angle: dy)),
    ("the one with the two halves in each other's place", backward_as(transposed)),
    ("the one divided by K", backward_as(scaled)),
    ("the one of pairs (2 i, 2 i + 1); here i goes with i + K / 2", both(neighbours)),
    (
        "the one turned the other way round: the first number of a pair gets minus the sine",
        {"rope_forward": lambda x, positions, theta: rotated(x, -angles(positions, theta, x.shape[-1]))},
    ),
    (
        "the one with the pairs' angles in reverse order: the first pair turns fastest",
        both(by=lambda positions, theta, K: angles(positions, theta, K)[:, ::-1]),
    ),
    (
        "the one with positions from 0: the first token has the position that is given",
        both(by=lambda positions, theta, K: angles(positions - positions[0], theta, K)),
    ),
    (
        "the one with one position more than is given",
        both(by=lambda positions, theta, K: angles(positions + 1.0, theta, K)),
    ),
    ("the one with theta^(-i / K): i is to be doubled", both(by=frequencies(lambda i, K: -i / K))),
    ("the one with theta^(2 i / K): the exponent is negative", both(by=frequencies(lambda i, K: 2.0 * i / K))),
    ("the one with theta^(-i): it is divided by K / 2", both(by=frequencies(lambda i, K: -1.0 * i))),
    (
        "the one with theta^(-2 (i + 1) / K): i begins at 0",
        both(by=frequencies(lambda i, K: -2.0 * (i + 1) / K)),
    ),
    (
        "the one with theta = 10000: the theta that is given has no say in it",
        both(by=lambda positions, theta, K: angles(positions, 10000.0, K)),
    ),
    (
        "the one with the same angle for all pairs of a position",
        both(by=lambda positions, theta, K: numpy.repeat(positions[:, None], K // 2, axis=1)),
    ),
    ("a cos - b sin and b cos - a sin, which is no rotation: one of the two signs is plus", both(reflected)),
]


def slopes(rng):
    dy, x = rng.standard_normal((1, 2, 3, 4)), rng.standard_normal((1, 2, 3, 4))
    fixed = {"positions": 2.0 + numpy.arange(3), "theta": 100.0}
    backward = Call("dy of shape (1, 2, 3, 4)", "rope_backward", {"dy": dy, **fixed}, ("dx",))
    return Slopes([backward], dy, {"dx": Partial("rope_forward", {"x": x, **fixed}, "x")})


TASK = Task({"rope_forward": rope_forward, "rope_backward": rope_backward}, calls, MUTANTS, slopes=slopes)
