"""SGD and AdamW: how gradients become steps."""

import math
from collections.abc import Iterable
from typing import Any

from minilora.arrays.backend import get_xp
from minilora.ops.fast import adamw_inplace
from minilora.parameter import Parameter
from minilora.training.parameter_groups import ParameterGroup, as_groups, check_rate


class Optimizer:
    """What optimizers share: the parameters in their groups, the learning rate, and a state to save.

    Parameters
    ----------
    parameters : iterable of Parameter, or of ParameterGroup
        Parameters that are not trainable are left out.
    lr : float
        The learning rate; a schedule changes the attribute `lr` between steps, and each group multiplies it by a ratio.
    weight_decay : float
        Decoupled: every step shrinks each weight by the fraction ``lr * weight_decay`` (Loshchilov and Hutter, 2019).
        A group can have its own.

    Attributes
    ----------
    steps : int
        How often `step` was called.
    updates : list of int
        How often each parameter was changed, in the order of `parameters`; steps without its gradient do not count.
    state : list of dict of str to ndarray
        The arrays of each parameter, in the same order.
    """

    slots: tuple[str, ...] = ()  # the names of the arrays that are kept for each parameter

    def __init__(self, parameters: Iterable[Parameter | ParameterGroup], lr: float, weight_decay: float = 0.0) -> None:
        check_rate("lr", lr)
        check_rate("weight_decay", weight_decay)
        self.groups = as_groups(parameters)
        self.parameters = [p for group in self.groups for p in group.parameters]
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        self.updates = [0] * len(self.parameters)
        self.state = [self.new_state(p) for p in self.parameters]

    def new_state(self, p: Parameter) -> dict[str, Any]:
        """The arrays that are kept for a parameter, by name: zeros of its shape."""
        return {slot: get_xp(p.data).zeros_like(p.data) for slot in self.slots}

    def step(self) -> None:
        """Change every parameter that has a gradient, in place. ``model.zero_grad()`` forgets the gradients."""
        self.steps += 1
        group_of_each = [group for group in self.groups for _ in group.parameters]
        for i, (p, group) in enumerate(zip(self.parameters, group_of_each, strict=True)):
            if p.grad is None:
                continue
            self.updates[i] += 1
            lr = self.lr * group.lr_ratio
            decay = self.weight_decay if group.weight_decay is None else group.weight_decay
            if decay:
                p.data *= 1.0 - lr * decay
            self.update(p, self.state[i], lr, self.updates[i])

    def update(self, p: Parameter, state: dict[str, Any], lr: float, t: int) -> None:
        """Change one parameter, in place, for the t-th time."""
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent: velocity = momentum * velocity + grad, data -= lr * velocity."""

    slots = ("velocity",)

    def __init__(
        self,
        parameters: Iterable[Parameter | ParameterGroup],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        check_rate("momentum", momentum)
        self.momentum = momentum

    def update(self, p: Parameter, state: dict[str, Any], lr: float, t: int) -> None:
        velocity = state["velocity"]
        velocity *= self.momentum
        velocity += p.grad
        p.data -= lr * velocity


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019).

    Each update is `ops/adamw.py`. There t counts the gradients that this parameter has had: m and v are means over
    those, and a parameter whose first gradient comes after 3,000 steps needs the correction of t = 1, not of t = 3,000.
    """

    slots: tuple[str, ...] = ("m", "v")

    def __init__(
        self,
        parameters: Iterable[Parameter | ParameterGroup],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"betas was {betas!r}; it must be two numbers, each 0 <= beta < 1")
        check_rate("eps", eps)
        self.betas = betas
        self.eps = eps

    def update(self, p: Parameter, state: dict[str, Any], lr: float, t: int) -> None:
        adamw_inplace(p.data, p.grad, state["m"], state["v"], t, lr, *self.betas, self.eps)


def clip_gradients(parameters: Iterable[Parameter], max_norm: float) -> Any:
    """Scale all gradients down together, in place, so that their joint norm is at most `max_norm`.

    If that norm is infinite or NaN, nothing can be scaled, and the gradients stay unchanged.

    Returns
    -------
    norm : array scalar
        The joint norm before clipping.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    xp = get_xp(*grads)
    norm = xp.sqrt(sum((grad * grad).sum() for grad in grads))
    if max_norm == math.inf:
        return norm
    factor = xp.where(xp.isfinite(norm), xp.minimum(max_norm / (norm + 1e-6), 1.0), 1.0)
    for grad in grads:
        grad *= factor
    return norm
