"""What a run measured, and warning signs in it."""

import math
import sys
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

ENOUGH = 50  # steps; fewer tell nothing
RISE = 1.2
LEAP = 100.0
LARGEST = sys.float_info.max


@dataclass
class History:
    """What a run measured; losses are in nats per counted token."""

    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)
    seconds: float = 0.0  # of training steps only
    tokens: int = 0  # read in all steps; of language, without padding

    @classmethod
    def from_json(cls, saved: Any) -> "History":
        """A History from its JSON form.

        Raises
        ------
        ValueError
            If a field is missing or unknown, or holds anything but finite numbers.
        """
        fields = set(cls.__dataclass_fields__)
        if not isinstance(saved, dict) or saved.keys() != fields:
            raise ValueError(f"a history must have the fields {', '.join(sorted(fields))}, and no others")
        losses, norms = (_numbers(name, saved[name]) for name in ("losses", "grad_norms"))
        points = saved["validation"]
        if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
            raise ValueError("validation must be a list of pairs of step and loss")
        steps, validation = ([point[i] for point in points] for i in (0, 1))
        tokens = saved["tokens"]
        if not all(type(n) is int and n >= 0 for n in (tokens, *steps)):
            raise ValueError("tokens, and the steps of validation, must be integers of at least 0")
        (seconds,) = _numbers("seconds", [saved["seconds"]])
        pairs = list(zip(steps, _numbers("validation", validation), strict=True))
        return cls(losses, norms, pairs, seconds, tokens)


def _numbers(name: str, values: Any) -> list[float]:
    """A list of finite numbers, as floats."""
    if not isinstance(values, list) or not all(type(x) in (int, float) and abs(x) <= LARGEST for x in values):
        raise ValueError(f"{name} must hold finite numbers")
    return [float(x) for x in values]


def diagnose(history: History) -> list[str]:
    """Warning signs in a finished run, one sentence each; empty for most runs.

    - The loss rose: its mean over the last tenth of the steps is more than 1.2 times its lowest over any tenth.
    - The validation loss rose: the last is more than 1.2 times the lowest.
    - The gradients jumped: a step's norm, before clipping, was more than 100 times the median of all steps.

    Runs of fewer than 50 steps are not judged.

    Parameters
    ----------
    history : History

    Returns
    -------
    list of str
    """
    losses, norms = history.losses, history.grad_norms
    found: list[str] = []
    if len(losses) < ENOUGH:
        return found
    n = len(losses) // 10
    means = [mean(losses[i : i + n]) for i in range(len(losses) % n, len(losses), n)]  # the last ends at the last step
    if means[-1] > RISE * min(means):
        found.append(
            f"the loss rose from {min(means):.3f} to {means[-1]:.3f}, means of {n} steps; "
            "a lower learning rate may help"
        )
    lowest_at, lowest = min(history.validation, key=lambda point: point[1], default=(0, math.inf))
    if history.validation and history.validation[-1][1] > RISE * lowest:
        found.append(
            f"the validation loss rose from {lowest:.3f} at step {lowest_at} to {history.validation[-1][1]:.3f}; "
            "fewer steps, or more data, may help"
        )
    if max(norms) > LEAP * median(norms):
        found.append(
            f"the gradients' norm was {max(norms):.3g} at step {1 + norms.index(max(norms))}, where the median is "
            f"{median(norms):.3g}; a lower learning rate, or a longer warmup, may help"
        )
    return found
