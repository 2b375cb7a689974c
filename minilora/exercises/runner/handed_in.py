"""A student's functions, for a training run: what they are given cannot be changed, what they return is looked at."""

import functools
from collections.abc import Callable
from typing import Any

import numpy

from .answers import explain
from .calls import AnswerError, named

Shapes = tuple[tuple[int, ...] | None, ...]


class InAnswer(Exception):
    """Something went wrong in one of the student's functions, or with what it returned."""

    def __init__(self, function: str, said: str) -> None:
        super().__init__(said)
        self.function = function


# What each function returns, by name, and the shapes, given its arguments; None is the student's own business.
RETURNS: dict[str, tuple[tuple[str, ...], Callable[..., Shapes]]] = {
    "lora_start": (("A", "B", "scale"), lambda O, I, rank, alpha, rng: ((rank, I), (O, rank), ())),
    "lora_linear_forward": (("y",), lambda x, W, *_: ((*x.shape[:-1], len(W)),)),
    "lora_linear_backward": (("dx", "dA", "dB"), lambda dy, c: (c[0].shape, c[3].shape, c[4].shape)),
    "linear_backward": (("dx", "dW", "dbias"), lambda dy, c: tuple(array.shape for array in c)),
    "cross_entropy_backward": (("dlogits",), lambda dloss, c: (c[0].shape,)),
    "layernorm_forward": (("y", "cache"), lambda x, *_: (x.shape, None)),
    "layernorm_backward": (("dx", "dgain", "dbias"), lambda dy, _: (dy.shape, dy.shape[-1:], dy.shape[-1:])),
    "attention_backward": (("dq", "dk", "dv"), lambda dy, c: tuple(array.shape for array in c[:3])),
    "adamw_step": (("data", "m", "v"), lambda data, *_: (data.shape,) * 3),
}


def guarded(name: str, function: Callable, trace: list[float]) -> Callable:
    """A student's function, whose every mistake that shows at once carries its name.

    Parameters
    ----------
    name : str
    function : callable
    trace : list of float
        Gets a number for each tensor that is returned, so that the call can be compared with the right one.
    """
    names, shapes_of = RETURNS[name]

    def call(*arguments):
        for argument in arguments:
            _protect(argument)
        try:
            values = named(name, function(*arguments), *names).values()
            shapes = shapes_of(*arguments)
            made = tuple(_looked_at(*each) for each in zip(names, values, shapes, strict=True))
        except BaseException as problem:
            raise InAnswer(name, explain(problem)) from problem
        trace.extend(print_of(value) for value, shape in zip(made, shapes, strict=True) if shape is not None)
        return made if len(made) > 1 else made[0]

    return call


def print_of(array: numpy.ndarray) -> float:
    """A number that differs for different arrays: the product with cos 0, cos 1, cos 2, ..., as good as random."""
    return float(numpy.vdot(_cosines(array.size), array))


@functools.lru_cache(maxsize=32)
def _cosines(n):
    return numpy.cos(numpy.arange(n))


def _protect(argument: Any) -> None:
    """Make an array, or the arrays of a tuple, read-only: the run needs them as they are."""
    if isinstance(argument, numpy.ndarray):
        argument.setflags(write=False)
    elif type(argument) is tuple:
        for part in argument:
            _protect(part)


def _looked_at(name, value, shape):
    """What was returned, in float64, if it has the shape that it must have."""
    if shape is None:
        return value
    if not isinstance(value, (int, float, numpy.ndarray, numpy.generic)):
        raise AnswerError(f"{name} is a {type(value).__name__}; it should be a NumPy array or a number.")
    array = numpy.asarray(value)
    if array.dtype.kind not in "fiub" or array.shape != shape:
        raise AnswerError(f"{name} is of {array.dtype} and of shape {array.shape}; it should be of shape {shape}.")
    return array.astype(numpy.float64) if array.dtype != numpy.float64 else array
