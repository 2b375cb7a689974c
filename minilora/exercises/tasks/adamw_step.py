"""One step of AdamW."""

from minilora.exercises.runner.calls import Call
from minilora.exercises.task import Task, mistakes_in, replacing

NAMES = ("data", "m", "v")
STEPS = ((1, (3, 4)), (3, (2, 5)), (2, (6,)), (40, (2, 3, 2)))  # t, and the shape of the data


def calls(rng):
    """All settings are large, so that each shows where it is put, and each step has its own."""
    given = []
    for t, shape in STEPS:
        arrays = {name: rng.standard_normal(shape) for name in ("data", "grad", "m", "v")}
        arrays |= {"m": 0.3 * arrays["m"] * (t > 1), "v": arrays["v"] ** 2 * (t > 1)}
        low, high = (0.01, 0.1, 0.6, 0.9, 0.001, 0.1), (0.2, 0.4, 0.85, 0.99, 0.1, 0.6)
        lr, _, beta1, beta2, eps, weight_decay = (float(x) for x in rng.uniform(low, high))
        eps *= 10.0 if t == 3 else 1.0  # once as large as the root of v
        settings = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        given.append(
            Call(f"step t = {t}, arrays of shape {shape}", "adamw_step", {**arrays, "t": t, **settings}, NAMES)
        )
    return given


def averages(grad, m, v, beta1, beta2):
    return beta1 * m + (1.0 - beta1) * grad, beta2 * v + (1.0 - beta2) * grad**2


def with_step(step):
    """AdamW with another line for the data: step(data, m, v, m_hat, v_hat, lr, eps, weight_decay)."""

    def adamw_step(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
        m, v = averages(grad, m, v, beta1, beta2)
        return step(data, m, v, m / (1.0 - beta1**t), v / (1.0 - beta2**t), lr, eps, weight_decay), m, v

    return adamw_step


right = with_step(lambda data, m, v, m_hat, v_hat, lr, eps, wd: data - lr * wd * data - lr * m_hat / (v_hat**0.5 + eps))
wrong = replacing(right, *NAMES)


def settings(change):
    """The right one with other arguments: change(dict of all arguments) gives those that are wrong."""
    names = (*("data", "grad", "m", "v", "t"), *("lr", "beta1", "beta2", "eps", "weight_decay"))

    def adamw_step(*values):
        given = dict(zip(names, values, strict=True))
        return right(*(given | change(given)).values())

    return adamw_step


@wrong
def upwards(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return {"data": right(data, -grad, -m, v, t, lr, beta1, beta2, eps, weight_decay)[0]}


@wrong
def corrected(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = averages(grad, m, v, beta1, beta2)
    return {"m": m / (1.0 - beta1**t), "v": v / (1.0 - beta2**t)}


@wrong
def old_averages(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step = (m / (1.0 - beta1**t)) / ((v / (1.0 - beta2**t)) ** 0.5 + eps)
    return {"data": data - lr * weight_decay * data - lr * step, "m": m, "v": v}


@wrong
def shrunk_after(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    moved = right(data, grad, m, v, t, lr, beta1, beta2, eps, 0.0)[0]
    return {"data": (1.0 - lr * weight_decay) * moved}


@wrong
def decay_alone(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return {"data": data - lr * weight_decay * data}


@wrong
def weights_of_one(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return {"m": beta1 * m + grad, "v": beta2 * v + grad**2}


@wrong
def not_squared(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return {"v": beta2 * v + (1.0 - beta2) * grad}


@wrong
def turned(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = averages(grad, m, v, 1.0 - beta1, 1.0 - beta2)
    return {"m": m, "v": v}


@wrong
def root_first(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = averages(grad, m, v, beta1, beta2)
    return {"data": data - lr * weight_decay * data - lr * m / (1 - beta1**t) / (v**0.5 / (1 - beta2**t) + eps)}


@wrong
def eps_hat(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = averages(grad, m, v, beta1, beta2)
    step = m / (1 - beta1**t) * (1 - beta2**t) ** 0.5 / (v**0.5 + eps)
    return {"data": data - lr * weight_decay * data - lr * step}


MUTANTS = {
    "the one without bias correction: m and v begin at zero, and are too small at first": with_step(
        lambda data, m, v, m_hat, v_hat, lr, eps, wd: data - lr * wd * data - lr * m / (v**0.5 + eps)
    ),
    "the one with the bias correction of m alone; v has one too": with_step(
        lambda data, m, v, m_hat, v_hat, lr, eps, wd: data - lr * wd * data - lr * m_hat / (v**0.5 + eps)
    ),
    "the one with the bias correction of v alone; m has one too": with_step(
        lambda data, m, v, m_hat, v_hat, lr, eps, wd: data - lr * wd * data - lr * m / (v_hat**0.5 + eps)
    ),
    "the one with t + 1 for t: t counts from 1, and is that of this step": settings(
        lambda given: {"t": given["t"] + 1}
    ),
    "the one with t = 1 in every step": settings(lambda given: {"t": 1}),
    "Adam's with the decay added to the gradient: AdamW shrinks the weights apart from it": settings(
        lambda given: {"grad": given["grad"] + given["weight_decay"] * given["data"], "weight_decay": 0.0}
    ),
    "the one with the decay after the step: what shrinks is the data of before it": shrunk_after,
    "the one in which the decay is not multiplied by lr": settings(
        lambda given: {"weight_decay": given["weight_decay"] / given["lr"]}
    ),
    "the one in which the data grows by the decay: it is subtracted": settings(
        lambda given: {"weight_decay": -given["weight_decay"]}
    ),
    "the one without weight decay": settings(lambda given: {"weight_decay": 0.0}),
    "the one that has only decayed": decay_alone,
    "the one with eps under the root": with_step(
        lambda data, m, v, m_hat, v_hat, lr, eps, wd: data - lr * wd * data - lr * m_hat / (v_hat + eps) ** 0.5
    ),
    "the one without eps": with_step(
        lambda data, m, v, m_hat, v_hat, lr, eps, wd: data - lr * wd * data - lr * m_hat / v_hat**0.5
    ),
    "the one without the root of v": with_step(
        lambda data, m, v, m_hat, v_hat, lr, eps, wd: data - lr * wd * data - lr * m_hat / (v_hat + eps)
    ),
    "the one with the root of v before its bias correction: v_hat = v / (1 - beta2^t) is under the root": root_first,
    "the one with eps added before the root of v is corrected, as in some texts": eps_hat,
    "the average of grad, where that of its square belongs": not_squared,
    "a step up the slope: lr * ... is subtracted": upwards,
    "the one with beta1 and beta2 in each other's place": settings(
        lambda given: {"beta1": given["beta2"], "beta2": given["beta1"]}
    ),
    "the one with 1 - beta for beta: most of the average is what it was": turned,
    "the one with a weight of 1 for the new gradient: it is 1 - beta": weights_of_one,
    "the one after bias correction: m_hat and v_hat are for the last line alone": corrected,
    "the old one: m and v come first, and the step uses the new ones": old_averages,
}
TASK = Task({"adamw_step": right}, calls, mistakes_in("adamw_step", MUTANTS))
