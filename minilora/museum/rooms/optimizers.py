"""Room 5: the optimizer, which gets a right gradient and makes a wrong step of it."""

import math
from typing import Any

from minilora.museum import checks
from minilora.museum.exhibit import Exhibit, Slip, known
from minilora.ops import adamw_inplace, fast
from minilora.training import AdamW, Trainer
from minilora.training.optimizers import Optimizer, clip_gradients
from minilora.training.schedules import schedule_factor

first_step_forever = known("adamw_step", "the one with t = 1 in every step")


def always_t_1(data: Any, grad: Any, m: Any, v: Any, t: int, *settings: float) -> None:
    data[...], m[...], v[...] = first_step_forever(data, grad, m, v, t, *settings, 0.0)


def multiplied(data: Any, grad: Any, m: Any, v: Any, t: int, lr: float, beta1: float, beta2: float, eps: float) -> None:
    m[...] = beta1 * m + (1.0 - beta1) * grad
    v[...] = beta2 * v + (1.0 - beta2) * grad * grad
    m_hat = m * (1.0 - beta1**t)
    v_hat = v * (1.0 - beta2**t)
    data[...] = data - lr * m_hat / (v_hat**0.5 + eps)


right_update = AdamW.update


def counting_parameters(self: Any, p: Any, state: dict[str, Any], lr: float, t: int) -> None:
    self.count = getattr(self, "count", 0) + 1
    right_update(self, p, state, lr, self.count)


def decay_without_lr(self: Any) -> None:
    self.steps += 1
    group_of_each = [group for group in self.groups for _ in group.parameters]
    for i, (p, group) in enumerate(zip(self.parameters, group_of_each, strict=True)):
        if p.grad is None:
            continue
        self.updates[i] += 1
        decay = self.weight_decay if group.weight_decay is None else group.weight_decay
        if decay:
            p.data *= 1.0 - decay
        self.update(p, self.state[i], self.lr * group.lr_ratio, self.updates[i])


def by_the_square(parameters: Any, max_norm: float) -> Any:
    """Clip by ||g||^2: as clipping to max_norm / ||g|| does."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = sum((grad * grad).sum() for grad in grads)
    if max_norm != math.inf:
        for grad in grads:
            grad *= min(max_norm / (norm + 1e-6), 1.0)
    return norm


def rate_of_micro_batches(self: Any) -> float:
    config, done = self.config, self.step * self.config.accumulation
    warmup = math.ceil(config.warmup * config.steps)
    return config.lr * schedule_factor(done, total=config.steps, warmup=warmup, kind=config.schedule)


T_1 = "the one with t = 1 in every step"
M_HAT, V_HAT = "m_hat = m / (1.0 - beta1**t)", "v_hat = v / (1.0 - beta2**t)"

ROOM = (
    Exhibit(
        name="adam-stays-at-step-1",
        title="Adam, always in its first step",
        link="https://github.com/allenai/OLMo-core/pull/317",
        says="The step of an AdamW was never counted, so that there was no bias correction worth the name, and a "
        "learning rate 2.2 times as high as the one that was set.",
        place=adamw_inplace,
        right=f"{M_HAT}\n{V_HAT}",
        wrong="m_hat = m / (1.0 - beta1)\nv_hat = v / (1.0 - beta2)",
        instead=((fast.adamw_inplace, always_t_1),),
        scene="gpt",
        check=checks.ADAMW,
        slip=Slip(
            "adamw_step", "m = beta1 * m + (1 - beta1) * grad", "t = 1\n    m = beta1 * m + (1 - beta1) * grad", T_1
        ),
    ),
    Exhibit(
        name="adam-multiplies-its-correction",
        title="Bias correction that multiplies",
        link="https://github.com/karpathy/convnetjs/pull/70",
        says="m and v were multiplied by 1 - beta^t, where they are divided by it.",
        place=adamw_inplace,
        right=f"{M_HAT}\n{V_HAT}",
        wrong="m_hat = m * (1.0 - beta1**t)\nv_hat = v * (1.0 - beta2**t)",
        instead=((fast.adamw_inplace, multiplied),),
        scene="gpt",
        check=checks.ADAMW,
    ),
    Exhibit(
        name="adam-counts-parameters",
        title="Adam counts parameters, not steps",
        link="https://github.com/flashlight/flashlight/issues/143",
        says="The counter of steps stood inside the loop over the parameters, so that each parameter had another t.",
        place=AdamW.update,
        right='adamw_inplace(p.data, p.grad, state["m"], state["v"], t, lr, *self.betas, self.eps)',
        wrong='self.count = getattr(self, "count", 0) + 1\n'
        'adamw_inplace(p.data, p.grad, state["m"], state["v"], self.count, lr, *self.betas, self.eps)',
        instead=((AdamW.update, counting_parameters),),
        scene="gpt",
        check=checks.ADAMW,
    ),
    Exhibit(
        name="decay-without-lr",
        title="Weight decay, not multiplied by lr",
        link="https://github.com/tensorflow/addons/issues/2282",
        says="A weight lost the fraction weight_decay of itself in every step, where users of other AdamWs expect "
        "lr * weight_decay.",
        place=Optimizer.step,
        right="p.data *= 1.0 - lr * decay",
        wrong="p.data *= 1.0 - decay",
        instead=((Optimizer.step, decay_without_lr),),
        scene="gpt",
        check=checks.ADAMW,
        slip=Slip(
            "adamw_step",
            "data - lr * weight_decay * data",
            "data - weight_decay * data",
            "the one in which the decay is not multiplied by lr",
        ),
    ),
    Exhibit(
        name="clipped-by-the-square",
        title="Clipped by the square of the norm",
        link="https://github.com/paiml/entrenar/issues/311",
        says="The sum of squares was taken for the norm itself, so that a large gradient was made far smaller than the "
        "bound.",
        place=clip_gradients,
        right="norm = xp.sqrt(sum((grad * grad).sum() for grad in grads))",
        wrong="norm = sum((grad * grad).sum() for grad in grads)",
        instead=((clip_gradients, by_the_square),),
        scene="gpt",
        check=checks.CLIPPED,
    ),
    Exhibit(
        name="schedule-of-micro-batches",
        title="A schedule that counts micro-batches",
        link="https://github.com/starVLA/starVLA/pull/210",
        says="The scheduler was stepped for every micro-batch and not for every step of the optimizer, so that the "
        "learning rate fell too fast.",
        place=Trainer._rate,
        right="schedule_factor(self.step, total=config.steps, warmup=warmup, kind=config.schedule)",
        wrong="schedule_factor(self.step * config.accumulation, total=config.steps, warmup=warmup, "
        "kind=config.schedule)",
        instead=((Trainer._rate, rate_of_micro_batches),),
        scene="gpt",
        check=checks.RATE,
    ),
)
