"""Learning-rate schedules: the factor by which the learning rate is multiplied at each step."""

import math

SCHEDULES = ("constant", "linear", "cosine")


def schedule_factor(step: int, *, total: int, warmup: int = 0, kind: str = "linear", floor: float = 0.0) -> float:
    """Warm up linearly from 0 to 1 in `warmup` steps, then decay to `floor` at step `total`.

    Parameters
    ----------
    step : int
        The step about to be taken, counting from 0.
    total, warmup : int
    kind : {"constant", "linear", "cosine"}
    floor : float

    Returns
    -------
    factor : float, from 0 to 1
    """
    if kind not in SCHEDULES:
        raise ValueError(f"kind was {kind!r}; it must be one of {', '.join(map(repr, SCHEDULES))}")
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    done = min((step - warmup) / max(total - warmup, 1), 1.0)
    decay = 1.0 - done if kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return floor + (1.0 - floor) * decay
