"""One step of training."""

import math
from collections.abc import Callable
from typing import Any

from minilora.arrays.backend import to_numpy
from minilora.models.model import Model
from minilora.training.divergence import check_step
from minilora.training.objective import loss_and_backward
from minilora.training.optimizers import Optimizer, clip_gradients


def train_step(
    model: Model,
    optimizer: Optimizer,
    batch: Any,
    *,
    lr: float,
    max_norm: float = math.inf,
    backward: Callable[[Model, Any], Any] = loss_and_backward,
) -> tuple[float, float]:
    """Forward, backward, clip, step: everything that training does, once.

        optimizer = AdamW(model.parameters(), lr=1e-3)
        for batch in batches:
            loss, norm = train_step(model, optimizer, batch, lr=1e-3)

    Parameters
    ----------
    model : Model
        Its trainable parameters have gradients afterwards.
    optimizer : Optimizer
        The optimizer of the model's parameters.
    batch : Batch
        A batch on the host.
    lr : float
        The learning rate of this step.
    max_norm : float
        The gradients' joint norm is clipped to this.
    backward : callable, optional
        ``backward(model, batch) -> loss``, which adds the gradient of the loss to every trainable parameter's. With
        dropout, use ``functools.partial(loss_and_backward, rng=rng)``.

    Returns
    -------
    loss : float
        The loss before the step.
    norm : float
        The joint norm of all gradients, before clipping.

    Raises
    ------
    Diverged
        If the loss or a gradient is infinite or NaN; no weight has changed.
    """
    model.zero_grad()
    loss = float(to_numpy(backward(model, batch)))
    norm = float(to_numpy(clip_gradients(model.parameters(), max_norm)))
    check_step(loss, norm, model, optimizer.steps + 1)
    optimizer.lr = lr
    optimizer.step()
    return loss, norm
