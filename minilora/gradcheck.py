"""Is a hand-written backward pass the derivative of its forward pass? Ask the forward pass.

The taught method is the centred difference, (f(x + h) - f(x - h)) / 2h, in float64. Its error is about h^2 / 6 times
the third derivative (the second cancels, which is why the difference is centred), and 1e-16 f / h from rounding; it is
smallest near h = 1e-5. The second opinion is the complex step, Im f(x + i h) / h, which subtracts nothing, and so is
exact up to rounding for any tiny h; but every line of f must accept complex numbers.

A check can lie. It passes wrong code where the point is special (B = 0), where the upstream gradient is all ones (the
sum of a softmax is constant), where W is square (a transpose has the same shape), in float32, or with an absolute
tolerance next to a small gradient. So these checks draw a random dy, work in float64, and compare relative to the norm.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from minilora.arrays.backend import Array, to_numpy


class GradientError(AssertionError):
    """A backward pass is not the derivative of its forward pass."""


def numerical_gradient(
    f: Callable, x: numpy.ndarray, dy: numpy.ndarray | None = None, h: float = 1e-5
) -> numpy.ndarray:
    """The gradient of sum(dy * f(x)) with respect to x, by centred differences.

    Parameters
    ----------
    f : callable
        Takes an array like x, returns an array (or a scalar).
    x : float64 ndarray of any shape
    dy : ndarray of the shape of f(x), optional
        The upstream gradient; 1 if f returns a scalar.
    h : float

    Returns
    -------
    dx : float64 ndarray of x's shape

    Notes
    -----
    Each call of f gets its own x, and what f returns is copied: f may return x itself, a view of it, or a buffer that
    it reuses, and two results in the same memory would show no difference. There are 2 x.size calls of f.
    """
    _check_floating("x", x)
    x = x.copy()
    dx = numpy.empty(x.shape)
    for i in numpy.ndindex(x.shape):
        original = x[i]
        x[i] = original + h
        plus = numpy.array(f(x.copy()))
        x[i] = original - h
        minus = numpy.array(f(x.copy()))
        x[i] = original
        dx[i] = _weighted(plus - minus, dy) / (2.0 * h)
    return dx


def complex_step_gradient(
    f: Callable, x: numpy.ndarray, dy: numpy.ndarray | None = None, h: float = 1e-30
) -> numpy.ndarray:
    """The gradient by the complex step, Im f(x + i h) / h. Exact up to rounding if f is analytic."""
    _check_floating("x", x)
    z = x.astype(complex)
    dx = numpy.empty(x.shape)
    for i in numpy.ndindex(x.shape):
        z[i] = x[i] + 1j * h
        dx[i] = _weighted(numpy.imag(f(z.copy())), dy) / h
        z[i] = x[i]
    return dx


def _check_floating(name: str, array: Array) -> None:
    if array.dtype.kind != "f":
        raise TypeError(f"{name} was {array.dtype}; a slope needs floating-point numbers, float64 above all")


def _check_float64(name: str, array: Array) -> None:
    if array.dtype != numpy.float64:
        raise TypeError(f"{name} was {array.dtype}; gradients are checked in float64")


def _weighted(y: Array, dy: numpy.ndarray | None) -> float:
    return float(numpy.sum(y) if dy is None else numpy.sum(dy * y))


def check_op(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    arrays: dict[str, numpy.ndarray],
    *args: Any,
    rng: numpy.random.Generator,
    wrt: Sequence[str] | None = None,
    method: str = "difference",
    bound: float = 1e-7,
    **scalars: Any,
) -> dict[str, float]:
    """Check an op's backward against its forward, for each array in `wrt`, with a random upstream gradient.

    Parameters
    ----------
    forward : callable
        ``y, cache = forward(*arrays, *args, **scalars)``
    backward : callable
        ``grads = backward(dy, cache)``: one gradient for each name in `wrt`, in order; a single one is returned bare.
    arrays : dict of str to float64 ndarray
        The forward's first arguments, by name, in order.
    *args, **scalars
        Passed to the forward: integer arrays, masks, scalars.
    rng : numpy.random.Generator
    wrt : sequence of str, optional
        The arrays that have a gradient; all, if not given.
    method : {"difference", "complex"}
    bound : float
        The largest ||analytic - numerical|| / max(||analytic||, ||numerical||) that passes.

    Returns
    -------
    errors : dict of str to float
        The norm-relative error of each gradient.

    Raises
    ------
    GradientError
        Naming the array, the index where the two differ most, both numbers, and the bound.
    """
    oracles = {"difference": numerical_gradient, "complex": complex_step_gradient}
    if method not in oracles:
        raise ValueError(f"method was {method!r}; it must be {' or '.join(map(repr, oracles))}")
    oracle = oracles[method]
    names = list(arrays) if wrt is None else list(wrt)
    for name in names:
        _check_float64(name, arrays[name])
    y, cache = forward(*arrays.values(), *args, **scalars)
    dy = rng.standard_normal(y.shape)
    grads = backward(dy, cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
    if len(grads) != len(names):
        raise GradientError(f"backward returned {len(grads)} gradients; expected {len(names)}: {', '.join(names)}")
    errors = {}
    if method == "complex":  # an array must not be real where another is complex: `y += bias`
        others = {name: array.astype(complex) for name, array in arrays.items()}
    else:
        others = arrays
    for name, analytic in zip(names, grads, strict=True):

        def f(x: numpy.ndarray, name: str = name) -> numpy.ndarray:
            return forward(*(others | {name: x}).values(), *args, **scalars)[0]

        errors[name] = _compare(name, analytic, oracle(f, arrays[name], dy), bound)
    return errors


def _compare(name: str, analytic: numpy.ndarray | None, numerical: numpy.ndarray, bound: float) -> float:
    if analytic is None or analytic.shape != numerical.shape:
        was = None if analytic is None else analytic.shape
        raise GradientError(f"the gradient of {name} has shape {was}; {name} has shape {numerical.shape}")
    if not numpy.all(numpy.isfinite(analytic)):
        raise GradientError(f"the gradient of {name} is not finite")
    size = max(numpy.linalg.norm(analytic), numpy.linalg.norm(numerical))
    difference = numpy.abs(analytic - numerical)
    error = float(numpy.linalg.norm(difference) / size) if size else 0.0
    if not error <= bound:  # NaN is never within the bound
        i = numpy.unravel_index(numpy.argmax(difference), difference.shape)
        raise GradientError(
            f"the gradient of {name} is wrong, most of all at {name}[{', '.join(map(str, i))}]: "
            f"backward says {analytic[i]:.9g}, the forward's slope is {numerical[i]:.9g}; "
            f"norm-relative error {error:.2g}, bound {bound:.2g}"
        )
    return error


def check_model(
    model: Any,
    batch: Any,
    *,
    rng: numpy.random.Generator,
    h: float = 1e-5,
    absolute: float = 1e-8,
    relative: float = 1e-6,
) -> dict[str, tuple[float, float]]:
    """Check a whole model's backward: the slope of the loss along one random direction for each trainable parameter.

    Parameters
    ----------
    model : Model
        A model with ``loss, cache = model.loss(batch)``, ``model.backward_loss(dloss, cache)`` and float64 parameters.
    batch : LMBatch, EpisodeBatch, ClassificationBatch or MaskedBatch
        A batch that the model's loss takes.
    rng : numpy.random.Generator
    h : float
    absolute, relative : float
        A slope may differ by ``absolute + relative * size``. (Relative alone would fail a correct backward at
        ``k_proj.bias``, whose gradient is mathematically zero, because softmax does not see a shift.)

    Returns
    -------
    slopes : dict of str to (analytic, numerical)

    Raises
    ------
    GradientError
        Naming every parameter that fails, with both slopes and the bound.
    """
    model.zero_grad()
    _, cache = model.loss(batch)
    model.backward_loss(1.0, cache)

    def loss() -> float:
        return float(to_numpy(model.loss(batch)[0]))

    slopes, failures = {}, []
    for name, p in model.named_parameters():
        if not p.trainable:
            if p.grad is not None:
                raise GradientError(f"{name} is frozen, but backward gave it a gradient")
            continue
        _check_float64(name, p.data)
        if p.grad is None:
            raise GradientError(f"{name} is trainable, but backward gave it no gradient")
        direction = rng.standard_normal(p.data.shape)
        direction /= numpy.linalg.norm(direction)
        analytic = float(numpy.sum(to_numpy(p.grad) * direction))
        original, step = p.data, model.xp.asarray(h * direction)
        try:
            p.data = original + step
            plus = loss()
            p.data = original - step
            minus = loss()
        finally:
            p.data = original
        numerical = (plus - minus) / (2.0 * h)
        slopes[name] = analytic, numerical
        allowed = absolute + relative * max(abs(analytic), abs(numerical))
        if not (math.isfinite(allowed) and abs(analytic - numerical) <= allowed):  # inf would be within a bound of inf
            failures.append(
                f"{name}: backward says {analytic:.9g}, the loss's slope is {numerical:.9g}; "
                f"difference {abs(analytic - numerical):.2g}, bound {allowed:.2g}"
            )
    if failures:
        raise GradientError("along a random direction of\n  " + "\n  ".join(failures))
    return slopes
