"""SGD and AdamW: how gradients become steps."""

import math

from minilora.arrays.backend import get_xp
from minilora.arrays.kernels import fused


class Optimizer:
    """What optimizers share: the parameters, the learning rate, the number of steps taken, and a state to save.

    Parameters
    ----------
    parameters : iterable of Parameter
        Those that are not trainable are left out.
    lr : float
        The learning rate; a schedule changes the attribute `lr` between steps.
    weight_decay : float
        Decoupled: every step shrinks each weight by ``lr * weight_decay`` of itself (Loshchilov and Hutter, 2019).
    lr_ratio_B : float
        LoRA+ (Hayou et al., 2024): the learning rate of every LoRA matrix B is this times `lr`. 1 is plain LoRA.
    """

    slots = ()  # the names of the arrays that are kept for each parameter

    def __init__(self, parameters, lr, weight_decay=0.0, lr_ratio_B=1.0):
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("lr_ratio_B", lr_ratio_B)):
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} was {value!r}; it may be a finite number of at least 0")
        self.parameters = [p for p in parameters if p.trainable]
        if not self.parameters:
            raise ValueError("parameters held nothing trainable: apply a method first (apply_lora, apply_full)")
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_ratio_B = lr_ratio_B
        self.steps = 0
        self.state = [{slot: get_xp(p.data).zeros_like(p.data) for slot in self.slots} for p in self.parameters]

    def step(self):
        """Change every parameter that has a gradient, in place. ``model.zero_grad()`` forgets the gradients."""
        self.steps += 1
        for p, state in zip(self.parameters, self.state, strict=True):
            if p.grad is None:
                continue
            lr = self.lr * self.lr_ratio_B if p.name.endswith(".B") else self.lr
            if self.weight_decay:
                p.data *= 1.0 - lr * self.weight_decay
            self.update(p, state, lr)

    def update(self, p, state, lr):
        """Change one parameter, in place."""
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent: velocity = momentum * velocity + grad, data -= lr * velocity."""

    slots = ("velocity",)

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, lr_ratio_B=1.0):
        super().__init__(parameters, lr, weight_decay, lr_ratio_B)
        self.momentum = momentum

    def update(self, p, state, lr):
        velocity = state["velocity"]
        velocity *= self.momentum
        velocity += p.grad
        p.data -= lr * velocity


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019).

    m = beta1 m + (1 - beta1) grad
    v = beta2 v + (1 - beta2) grad^2
    data -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
    """

    slots = ("m", "v")

    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, lr_ratio_B=1.0):
        super().__init__(parameters, lr, weight_decay, lr_ratio_B)
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"betas was {betas!r}; each may be 0 <= beta < 1")
        self.betas = betas
        self.eps = eps

    def update(self, p, state, lr):
        get_xp(data=p.data, grad=p.grad)
        beta1, beta2 = self.betas
        unbias_m, unbias_v = (1.0 / (1.0 - beta**self.steps) for beta in self.betas)
        averages = beta1, 1.0 - beta1, beta2, 1.0 - beta2
        _adamw(p.data, p.grad, state["m"], state["v"], *averages, lr * unbias_m, math.sqrt(unbias_v), float(self.eps))


@fused(
    """data[...], grad[...], m[...], v[...], keep_m, take_m, keep_v, take_v, lr, root_unbias_v, eps
    -> data[...], m[...], v[...]""",
    """
    m[i] = keep_m * m[i] + take_m * grad[i];
    v[i] = keep_v * v[i] + take_v * grad[i] * grad[i];
    data[i] -= lr * m[i] / (root_unbias_v * sqrt(v[i]) + eps);
    """,
)
def _adamw(data, grad, m, v, keep_m, take_m, keep_v, take_v, lr, root_unbias_v, eps):
    """AdamW's three lines, in place; `lr` holds 1 / (1 - beta1^t), and `root_unbias_v` is sqrt(1 / (1 - beta2^t))."""
    m *= keep_m
    m += take_m * grad
    v *= keep_v
    v += take_v * (grad * grad)
    denominator = get_xp(v).sqrt(v)
    denominator *= root_unbias_v
    denominator += eps
    change = m / denominator
    change *= lr
    data -= change


def clip_gradients(parameters, max_norm):
    """Scale all gradients down together, in place, so that their joint norm is at most `max_norm`.

    Where that norm is infinite or NaN nothing can be scaled, and the gradients stay as they are.

    Returns
    -------
    norm : array scalar
        The joint norm before clipping.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    xp = get_xp(*grads)
    norm = xp.sqrt(sum((grad * grad).sum() for grad in grads))
    factor = xp.where(xp.isfinite(norm), xp.minimum(max_norm / (norm + 1e-6), 1.0), 1.0)
    for grad in grads:
        grad *= factor
    return norm
