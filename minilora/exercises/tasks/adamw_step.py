"""One step of AdamW."""

from minilora.exercises.task import Task, mistakes_in, named, replacing
from minilora.parameter import Parameter
from minilora.training import AdamW

NAMES = ("data", "m", "v")
SETTINGS = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-3, "weight_decay": 0.3}


def points(rng):
    def point(t):
        arrays = {name: rng.standard_normal((3, 4)) for name in ("data", "grad", "m", "v")}
        return arrays | {"m": 0.3 * arrays["m"] * (t > 1), "v": arrays["v"] ** 2 * (t > 1), "t": t, **SETTINGS}

    return {"the first step, t = 1": point(1), "the third step, t = 3": point(3)}


def answer(f, data, grad, m, v, t, **settings):
    return named("adamw_step", f.adamw_step(data, grad, m, v, t, *settings.values()), *NAMES)


def right(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """The package's optimizer, put where it would be after t - 1 steps."""
    p = Parameter(data.copy())
    p.accumulate(grad.copy())
    optimizer = AdamW([p], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
    optimizer.state = [{"m": m.copy(), "v": v.copy()}]
    optimizer.steps = t - 1
    optimizer.step()
    return p.data, *optimizer.state[0].values()


wrong = replacing(right, *NAMES)


def averages(grad, m, v, beta1, beta2):
    return beta1 * m + (1.0 - beta1) * grad, beta2 * v + (1.0 - beta2) * grad**2


@wrong
def biased(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = averages(grad, m, v, beta1, beta2)
    return {"data": (1.0 - lr * weight_decay) * data - lr * m / (v**0.5 + eps)}


def adam(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return right(data, grad + weight_decay * data, m, v, t, lr, beta1, beta2, eps, 0.0)


@wrong
def decay_without_lr(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return {"data": right(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay / lr)[0]}


@wrong
def without_decay(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return {"data": right(data, grad, m, v, t, lr, beta1, beta2, eps, 0.0)[0]}


@wrong
def eps_inside(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = averages(grad, m, v, beta1, beta2)
    root = (v / (1.0 - beta2**t) + eps) ** 0.5
    return {"data": (1.0 - lr * weight_decay) * data - lr * m / (1.0 - beta1**t) / root}


@wrong
def without_root(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = averages(grad, m, v, beta1, beta2)
    denominator = v / (1.0 - beta2**t) + eps
    return {"data": (1.0 - lr * weight_decay) * data - lr * m / (1.0 - beta1**t) / denominator}


@wrong
def not_squared(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return {"v": beta2 * v + (1.0 - beta2) * grad}


@wrong
def upwards(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return {"data": right(data, -grad, -m, v, t, lr, beta1, beta2, eps, weight_decay)[0]}


@wrong
def swapped(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return dict(zip(NAMES, right(data, grad, m, v, t, lr, beta2, beta1, eps, weight_decay), strict=True))


MUTANTS = {
    "the one without bias correction: m and v begin at zero, and are too small at first": biased,
    "Adam's with the decay added to the gradient: AdamW shrinks the weights apart from it": adam,
    "the one in which the decay is not multiplied by lr": decay_without_lr,
    "the one without weight decay": without_decay,
    "the one with eps under the root": eps_inside,
    "the one without the root of v": without_root,
    "the average of grad, where that of its square belongs": not_squared,
    "a step up the slope: lr * ... is subtracted": upwards,
    "the one with beta1 and beta2 in each other's place": swapped,
}
TASK = Task({"adamw_step": right}, points, answer, mistakes_in("adamw_step", MUTANTS))
