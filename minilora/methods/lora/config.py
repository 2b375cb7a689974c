"""LoRA's settings: what is adapted, at which rank, and how A and B start."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from minilora.limits import shown

INITS = ("uniform", "gaussian", "pissa", "lora-ga")
FROM_W = ("pissa", "lora-ga")  # those whose A and B are not zero together, so that W itself is another at the start


@dataclass(frozen=True)
class LoRAConfig:
    """What is adapted, and how.

    Parameters
    ----------
    rank : int
        r, from 1 to min(I, O) of every target.
    alpha : float
        delta_W is scaled by alpha / r, which reduces the need to retune the learning rate when r changes (the
        paper, section 4.1); for large r see `rslora`.
    targets : sequence of str
        Names of linear layers: the end of a path ("q_proj": in all blocks) or a whole path ("blocks.0.attn.q_proj").
    dropout : float
        The probability that an input of LoRA's branch is dropped in training.
    rslora : bool
        Scale by alpha / sqrt(r) instead.
    init : {"uniform", "gaussian", "pissa", "lora-ga"}
        How A is drawn: U(-1/sqrt(I), 1/sqrt(I)), as loralib and PEFT do, or N(0, 1/r^2), PEFT's reading of the paper's
        "random Gaussian", for which the paper gives no deviation. B is zero, so that delta_W starts as zero. "pissa"
        draws nothing: A and B start as W's r largest singular directions (see `PiSSAFactors`), with
        "lora-ga" as those of its gradient (see `gradient_start.py`); this one needs `batches` when it is applied.
    gamma : float
        Of "lora-ga": the larger, the smaller its start. The paper has 16 and 64.
    dora : bool
        Learn the length of each row of W + delta_W separately from its direction (see `DoRAFactors`).
    dora_exact : bool
        Differentiate through DoRA's norm, which its paper and PEFT treat as a constant.
    freeze_A : bool
        LoRA-FA: A stays as it was drawn, and only B is trained (see `LoRAFAFactors`).
    rank_pattern, alpha_pattern : dict of str to int or float
        Exceptions, by the same kind of name as in `targets`; the longest name that matches wins.
    besides : sequence of str
        What the adapter trains besides A and B, in its own copy: whole paths, or their ends, of parameters or of
        modules that hold them. ("bias",) means all biases, ("ln_f",) the last LayerNorm. Whatever is new in a model,
        such as a classifier's head, is always included.
    """

    rank: int = 8
    alpha: float = 8
    targets: Sequence[str] = ("q_proj", "v_proj")
    dropout: float = 0.0
    rslora: bool = False
    init: str = "uniform"
    gamma: float = 16
    dora: bool = False
    dora_exact: bool = False
    freeze_A: bool = False
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    besides: Sequence[str] = ()

    def __post_init__(self) -> None:
        for setting in ("targets", "besides"):
            names = getattr(self, setting)
            right = isinstance(names, (tuple, list)) and all(isinstance(name, str) and name for name in names)
            if not right or (setting == "targets" and not names):
                raise ValueError(
                    f"{setting} was {shown(names)}; it must be several names, such as ('q_proj', 'v_proj')"
                )
            object.__setattr__(self, setting, tuple(names))
        for setting, is_right, says in (
            ("rank", is_rank, "an integer of at least 1"),
            ("alpha", is_number, "a finite number"),
        ):
            self._check_number(setting, getattr(self, setting), is_right, says)
            pattern = getattr(self, f"{setting}_pattern")
            if not isinstance(pattern, dict) or not all(isinstance(name, str) for name in pattern):
                raise ValueError(f"{setting}_pattern was {shown(pattern)}; it must be a dict of names to numbers")
            for name, value in pattern.items():
                self._check_number(f"{setting}_pattern[{shown(name)}]", value, is_right, says)
            # what JSON can hold: no scalars of NumPy's
            object.__setattr__(self, setting, as_python(getattr(self, setting)))
            object.__setattr__(self, f"{setting}_pattern", {name: as_python(value) for name, value in pattern.items()})
        if not is_number(self.dropout) or not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout was {_quoted(self.dropout)}; it must be 0 <= dropout < 1")
        object.__setattr__(self, "dropout", as_python(self.dropout))
        for setting in ("rslora", "dora", "dora_exact", "freeze_A"):
            if not isinstance(getattr(self, setting), bool):
                raise ValueError(f"{setting} was {shown(getattr(self, setting))}; it must be True or False")
        if self.init not in INITS:
            raise ValueError(f"init was {shown(self.init)}; it must be one of {', '.join(map(repr, INITS))}")
        if not is_number(self.gamma) or self.gamma <= 0:
            raise ValueError(f"gamma was {_quoted(self.gamma)}; it must be a number above 0")
        object.__setattr__(self, "gamma", as_python(self.gamma))
        if self.init in FROM_W and self.dora:
            raise ValueError(f"dora and init={self.init!r} are mutually exclusive")
        if self.init == "pissa" and min(self.alpha, *self.alpha_pattern.values(), math.inf) <= 0:
            raise ValueError("init was 'pissa', which divides by alpha; each alpha must be a number above 0")
        if self.freeze_A and (self.dora or self.init in FROM_W):
            other = "dora" if self.dora else f"init={self.init!r}"
            raise ValueError(f"freeze_A was True, beside {other}, which trains A; it must be without it")
        if self.dora_exact and not self.dora:
            raise ValueError("dora_exact was True, but dora was False; it says how DoRA is differentiated")

    @staticmethod
    def _check_number(setting: str, value: Any, is_right: Callable[[Any], bool], says: str) -> None:
        if not is_right(value):
            raise ValueError(f"{setting} was {_quoted(value)}; it must be {says}")

    def rank_of(self, path: str) -> int:
        """The rank for the layer at `path`."""
        return _longest_match(self.rank_pattern, path, self.rank)

    def alpha_of(self, path: str) -> float:
        """The alpha for the layer at `path`."""
        return _longest_match(self.alpha_pattern, path, self.alpha)


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold, and not NaN, infinity or a boolean."""
    if isinstance(value, (bool, numpy.bool_)) or not isinstance(value, (int, float, numpy.integer, numpy.floating)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False


def is_rank(value: Any) -> bool:
    """Whether it is an integer of at least 1."""
    return isinstance(value, (int, numpy.integer)) and is_number(value) and bool(value >= 1)


def _quoted(value: Any) -> str:
    large = isinstance(value, int) and not isinstance(value, bool) and not is_number(value)
    return "an integer of more than 308 digits" if large else shown(value)


def as_python(number: Any) -> Any:
    """A number as Python's own, if it is one of NumPy's."""
    return number.item() if isinstance(number, numpy.generic) else number


def fits(name: str, path: str) -> bool:
    """True if `name` is the path of a layer, or the end of one."""
    return path == name or path.endswith("." + name)


def _longest_match(pattern: dict[str, Any], path: str, default: Any) -> Any:
    names = [name for name in pattern if fits(name, path)]
    return pattern[max(names, key=len)] if names else default
