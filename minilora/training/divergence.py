"""Stop a run whose loss, gradients or weights are no longer finite, and say where."""

import contextlib
import math
from collections.abc import Iterable, Iterator

from minilora.arrays.finite import not_finite
from minilora.parameter import Module, Parameter


class Diverged(ValueError):
    """The loss, a gradient or a weight became infinite or NaN: most often, the learning rate was too high."""


def check_step(loss: float, norm: float, model: Module, step: int) -> None:
    """Raise a Diverged unless a step's loss and its gradients are finite; it names the parameters that are not.

    Parameters
    ----------
    loss : float
    norm : float
        The joint norm of the gradients, before clipping.
    model : Module
    step : int
        Counting from 1.
    """
    if not math.isfinite(loss):
        odd = not_finite({name: p.data for name, p in model.named_parameters()})
        where = f"; no longer finite: {odd}" if odd else ""
        raise Diverged(f"the loss became {loss} at step {step}{where}")
    check_gradients(norm, model.parameters(), step)


def check_gradients(norm: float, parameters: Iterable[Parameter], step: int) -> None:
    """Raise Diverged, naming the gradients that are not finite, unless the joint norm of all gradients is finite.

    Parameters
    ----------
    norm : float
        Before clipping; gradients that cannot be clipped are unchanged.
    parameters : iterable of Parameter
    step : int
    """
    if not math.isfinite(norm):
        odd = not_finite({p.name: p.grad for p in parameters if p.grad is not None})
        what = f"the gradient of {odd}" if odd else "the norm of all gradients together"
        raise Diverged(f"{what} became infinite or NaN at step {step}")


def check_weights(parameters: Iterable[Parameter], step: int) -> None:
    """Raise Diverged, naming the parameters that are not finite, unless all are finite after a step."""
    if odd := not_finite({p.name: p.data for p in parameters}):
        raise Diverged(f"{odd} became infinite or NaN at step {step}")


def check_validation(loss: float, step: int) -> None:
    """Raise a Diverged unless the validation loss is finite: finite weights can still give an infinite one."""
    if not math.isfinite(loss):
        raise Diverged(f"the validation loss became {loss} at step {step}")


@contextlib.contextmanager
def advise_on_divergence(lr: float) -> Iterator[None]:
    """A context in which a Diverged also says what to try; `lr` is the highest learning rate of the run."""
    try:
        yield
    except Diverged as error:
        raise Diverged(f"{error}; a lower lr than {lr} may help, or a longer warmup") from None
