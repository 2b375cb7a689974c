"""Find the bugs: a loop of gradient descent on A and B, which is wrong in three places."""

from minilora.exercises.runner.calls import Call
from minilora.exercises.task import Task, mistakes_in
from minilora.exercises.tasks.lora_linear_forward import matrices

SIZES = ((1, 6, 4, 5, 3), (3, 7, 6, 5, 2), (5, 5, 4, 6, 3))  # steps, M, O, I, r


def calls(rng):
    given = []
    for steps, M, O, I, r in SIZES:
        m = matrices(rng, (M,), O, I, r)
        arguments = {
            "x": m["x"],
            "y": rng.standard_normal((M, O)),
            **{name: m[name] for name in ("W", "A", "B", "scale")},
        }
        arguments |= {"lr": float(rng.uniform(0.002, 0.006)), "steps": steps}
        where = f"{steps} step{'s' if steps > 1 else ''}, x of shape {(M, I)}"
        given.append(Call(where, "lora_loop", arguments, ("A", "B")))
    return given


def loop(dA_scaled=True, dB_scaled=True, at_once=True, mean=True, stepped=True, up=False):
    """The loop, right or with some of the mistakes."""

    def lora_loop(x, y, W, A, B, scale, lr, steps):
        rate = -lr if up else lr
        for _ in range(steps if stepped else 1):
            h = x @ A.T
            e = (x @ W.T + scale * (h @ B.T) - y) / (len(x) if mean else 1)
            dB = (scale if dB_scaled else 1.0) * (e.T @ h)
            moved = B - rate * dB
            dA = (scale if dA_scaled else 1.0) * ((e @ (B if at_once else moved)).T @ x)
            A, B = A - rate * dA, moved
        return A, B

    return lora_loop


MUTANTS = {
    "the one whose dB has no scale": loop(dB_scaled=False),
    "the one whose dA is taken at a B that has already moved: both gradients belong to the old A and B": loop(
        at_once=False
    ),
    "the one with both: dB has no scale, and dA is taken at a B that has already moved": loop(
        dB_scaled=False, at_once=False
    ),
    "the one whose dA has no scale": loop(dA_scaled=False),
    "the one without any scale in dA and dB": loop(dA_scaled=False, dB_scaled=False),
    "the one of the sum over the rows, where the loss is their mean": loop(mean=False),
    "the one after a single step": loop(stepped=False),
    "the one that goes uphill: lr times the gradient is subtracted": loop(up=True),
}
TASK = Task({"lora_loop": loop()}, calls, mistakes_in("lora_loop", MUTANTS))
