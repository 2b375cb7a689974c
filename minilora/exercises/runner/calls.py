"""Calls as plain data, and making them: the same code for a student's functions, for the right ones and for mutants.

A call's arguments are numbers, arrays, lists, and

- a dict: a tuple whose parts have names, such as a cache;
- `Function`: one of FUNCTIONS, with the arrays that it holds;
- `Partial`: one of GIVEN, or another of the student's functions, as a function of one argument;
- `Seed`: a NumPy generator;
- `Kept`: what an earlier call has returned.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from .decoder import Batch, attention, cross_entropy, softmax

LARGEST = 100_000  # numbers in a tensor; an exercise asks for a few hundred
SAME = 1e-9  # relative: how far two calls with the same arguments may differ


class AnswerError(Exception):
    """An answer that cannot be compared; the message says why, to the student."""


class Call(NamedTuple):
    """One call of one of the student's functions."""

    where: str  # what makes it different from others: "x of shape (2, 3, 5)"
    function: str
    arguments: dict[str, Any]
    gives: tuple[str, ...]  # what it returns, by name
    unseen: tuple[str, ...] = ()  # those of them that are the student's own business: never compared


class Function(NamedTuple):
    """A function of x that is passed to the student's function."""

    name: str
    arrays: dict[str, numpy.ndarray]


class Partial(NamedTuple):
    """A function of its argument `of`, with the others as they are; of several values that it returns, the first."""

    function: str
    arguments: dict[str, Any]
    of: str


class Seed(NamedTuple):
    """A generator, `numpy.random.default_rng(seed)`."""

    seed: int


class Kept(NamedTuple):
    """What call number `call` returned under a name."""

    call: int
    name: str


class Result(NamedTuple):
    """What one call gave: arrays by name, or a problem."""

    values: dict[str, numpy.ndarray]
    problem: Exception | None = None


def _allocates(dropped, kept):
    def f(x):
        needed = numpy.zeros(125_000 * int(dropped))  # eight bytes each
        returned = numpy.zeros(125_000 * int(kept))
        del needed
        return returned

    return f


FUNCTIONS: dict[str, Callable] = {
    "sin(x M)": lambda M: lambda x: numpy.sin(x @ M),
    "(x M)^3": lambda M: lambda x: (x @ M) ** 3,
    "x": lambda: lambda x: x,
    "x[::-1]": lambda: lambda x: x[::-1],
    "allocates MB": _allocates,
}


def _dora(x, W, A, B, m, scale):
    V = W + scale * B @ A
    return m / numpy.linalg.norm(V, axis=1) * (x @ V.T)


def _grouped_attention(q, k, v):
    J = q.shape[1] // k.shape[1]
    return attention(q, numpy.repeat(k, J, axis=1), numpy.repeat(v, J, axis=1))[0]


GIVEN: dict[str, Callable] = {  # forward passes that no exercise asks for
    "a linear map": lambda x, W, bias: x @ W.T + bias,
    "softmax": softmax,
    "cross entropy": lambda logits, targets, mask: cross_entropy(logits, Batch(targets, targets, mask))[0],
    "attention": lambda q, k, v: attention(q, k, v)[0],
    "attention in groups": _grouped_attention,
    "DoRA": _dora,
}


def functions_in(calls: list[Call]) -> set[str]:
    """The names of the student's functions that are called, or handed to one of them."""
    handed = {v.function for call in calls for v in call.arguments.values() if isinstance(v, Partial)}
    return {call.function for call in calls} | handed - GIVEN.keys()


def perform(functions: dict[str, Callable], calls: list[Call]) -> list[Result]:
    """Make the calls twice, in order; a second round that differs is a problem, because functions must not keep state.

    Parameters
    ----------
    functions : dict of str to callable
    calls : list of Call

    Returns
    -------
    results : list of Result
    """
    first, second = _round(functions, calls), _round(functions, calls)
    return [_unless_it_differs(*pair) for pair in zip(first, second, strict=True)]


def _unless_it_differs(first, second):
    if first.problem or second.problem:
        return first if first.problem else second
    for name, value in first.values.items():
        if not alike(value, second.values[name]):
            return Result(
                {},
                AnswerError(
                    f"Your {name} changes when the same call is made again: the code keeps something from call "
                    "to call, in a global variable or in what it was given."
                ),
            )
    return first


def alike(a: numpy.ndarray, b: numpy.ndarray) -> bool:
    """Whether two arrays are equal up to rounding, with NaN in the same places."""
    if a.shape != b.shape:
        return False
    a, b = a.astype(numpy.float64), b.astype(numpy.float64)
    scale = numpy.abs(a[numpy.isfinite(a)]).max(initial=0.0)
    return bool(numpy.allclose(a, b, rtol=SAME, atol=SAME * scale, equal_nan=True))


def _round(functions, calls):
    returned, results, seen = [], [], []
    for call in calls:
        try:
            given = {name: _made(value, returned, functions) for name, value in call.arguments.items()}
        except KeyError:  # what an earlier call should have returned
            returned.append({})
            results.append(Result({}, AnswerError("")))
            continue
        try:
            values = named(call.function, functions[call.function](*given.values()), *call.gives)
            _check_unchanged(call, given)
            arrays = {name: as_array(name, value) for name, value in values.items() if name not in call.unseen}
        except Exception as problem:
            returned.append({})
            results.append(Result({}, problem))
            continue
        returned.append(values)
        results.append(Result(arrays))
        seen += [(len(results) - 1, name, values[name], array) for name, array in arrays.items()]
    for i, name, live, array in seen:
        if not results[i].problem and not _identical(as_array(name, live), array):
            problem = AnswerError(
                f"The {name} that your code returned was changed by a later call. Return a new array."
            )
            results[i] = Result({}, problem)
    return results


def _made(value, returned, functions):
    """An argument, made afresh for each call, so that calls share nothing except what was returned."""
    if isinstance(value, Kept):
        kept = returned[value.call][value.name]
        return kept.copy() if isinstance(kept, numpy.ndarray) else kept
    if isinstance(value, Function):
        return FUNCTIONS[value.name](**{name: array.copy() for name, array in value.arrays.items()})
    if isinstance(value, Partial):
        return _partial(value, {**GIVEN, **functions}[value.function])
    if isinstance(value, Seed):
        return numpy.random.default_rng(value.seed)
    if isinstance(value, dict):
        return tuple(_made(part, returned, functions) for part in value.values())
    if isinstance(value, list):
        return list(value)
    return value.copy() if isinstance(value, numpy.ndarray) else value


def _partial(value, function):
    arguments = {name: a.copy() if isinstance(a, numpy.ndarray) else a for name, a in value.arguments.items()}

    def of_one(x):
        y = function(*{**arguments, value.of: x}.values())
        return y[0] if isinstance(y, tuple) else y

    return of_one


def _check_unchanged(call, given):
    for name, value in call.arguments.items():
        for part, before, after in _parts(name, value, given[name]):
            if not _identical(before, after):
                raise AnswerError(f"Your code has changed {part}, which it was given to read. Work on a copy.")


def _parts(name, value, given):
    if isinstance(value, dict):
        for (part, before), after in zip(value.items(), given, strict=True):
            yield from _parts(part, before, after)
    elif isinstance(value, (numpy.ndarray, list)):
        yield name, value, given


def _identical(before, after):
    """Whether two values are identical to the bit, including shape and dtype."""
    if isinstance(before, list):
        return before == after
    return (before.shape, before.dtype) == (after.shape, after.dtype) and before.tobytes() == after.tobytes()


def named(function: str, value: Any, *names: str) -> dict[str, Any]:
    """What a function returned, as a dict by the names of the results it should return."""
    if len(names) == 1:
        return {names[0]: value}
    if not isinstance(value, (tuple, list)):
        got = _a(value)
    elif len(value) != len(names):
        got = f"{len(value)} values"
    else:
        return dict(zip(names, value, strict=True))
    raise AnswerError(f"{function} returned {got}; it should return {len(names)} values: {', '.join(names)}.")


def as_array(name: str, value: Any) -> numpy.ndarray:
    """A copy of what was returned under a name, as an array."""
    if not isinstance(value, (bool, int, float, numpy.ndarray, numpy.generic)):
        raise AnswerError(f"{name} is {_a(value)}; it should be a NumPy array or a number.")
    try:
        array = numpy.array(value)
    except OverflowError:
        raise AnswerError(f"{name} is an integer too large for any array.") from None
    if array.dtype.kind not in "fiub":
        raise AnswerError(f"{name} has the dtype {array.dtype}; it should hold real numbers.")
    if array.size > LARGEST:
        raise AnswerError(f"{name} has the shape {array.shape}, which is far more numbers than were asked for.")
    return array.astype(numpy.float64) if array.dtype.itemsize > 8 else array


def _a(value):
    return "None (is a `return` missing?)" if value is None else f"a {type(value).__name__}"


# ---- as JSON


def encode(value: Any) -> Any:
    """A value in a form that JSON can hold: Python's floats are written with all of their digits."""
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return {"array": value.tolist(), "dtype": value.dtype.name, "shape": list(value.shape)}
    for kind in (Function, Partial, Seed, Kept, Call):
        if isinstance(value, kind):
            return {kind.__name__: [encode(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[name, encode(part)] for name, part in value.items()]}
    if isinstance(value, (tuple, list)):
        return {type(value).__name__: [encode(part) for part in value]}
    return value


def decode(value: Any) -> Any:
    """The value that was encoded."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return numpy.array(value["array"], dtype=value["dtype"]).reshape(value["shape"])
    ((kind, parts),) = value.items()
    if kind == "dict":
        return {name: decode(part) for name, part in parts}
    parts = [decode(part) for part in parts]
    kinds = {"Function": Function, "Partial": Partial, "Seed": Seed, "Kept": Kept, "Call": Call}
    return kinds[kind](*parts) if kind in kinds else tuple(parts) if kind == "tuple" else parts
