"""Numbers that are none: a loss, a gradient or a weight that is infinite or NaN ends a run, and says where."""

import math

from minilora.arrays.backend import get_xp, to_numpy


class Diverged(ValueError):
    """The loss, a gradient or a weight became infinite or no number: the learning rate was too high, most often."""


def check_loss(loss, model, step, lr):
    """Raise a Diverged unless a loss is finite; it names the parameters that are not.

    Parameters
    ----------
    loss : float
    model : Module
    step : int
        Counted from 1.
    lr : float
    """
    if not math.isfinite(loss):
        odd = _not_finite({name: p.data for name, p in model.named_parameters()})
        where = f"; not finite any more: {odd}" if odd else ""
        raise Diverged(f"the loss became {loss} at step {step}; {_advice(lr)}{where}")


def check_gradients(norm, parameters, step, lr):
    """The same for the joint norm of the gradients of these parameters, which have not been clipped."""
    if not math.isfinite(norm):
        odd = _not_finite({p.name: p.grad for p in parameters if p.grad is not None})
        what = f"the gradient of {odd}" if odd else "the norm of all gradients together"
        raise Diverged(f"{what} became infinite or NaN at step {step}; {_advice(lr)}")


def check_weights(parameters, step, lr):
    """The same for the parameters themselves."""
    if odd := _not_finite({p.name: p.data for p in parameters}):
        raise Diverged(f"{odd} became infinite or NaN at step {step}; {_advice(lr)}")


def _advice(lr):
    return f"a lower lr than {lr} may help, or a longer warmup"


def _not_finite(arrays):
    """The names of the first arrays that hold anything but finite numbers, as text."""
    odd = [name for name, array in arrays.items() if not to_numpy(get_xp(array).isfinite(array).all())]
    return ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
