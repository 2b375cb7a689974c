"""LoRA's settings: what is adapted, at which rank, and how A and B start."""

import math
from dataclasses import dataclass, field

import numpy

INITS = ("uniform", "gaussian", "pissa")


@dataclass(frozen=True)
class LoRAConfig:
    """What is adapted, and how.

    Parameters
    ----------
    rank : int
        r, from 1 to min(I, O) of every target.
    alpha : float
        delta_W is scaled by alpha / r, which reduces the need to tune the learning rate again when r changes (the
        paper, section 4.1); for large r see `rslora`.
    targets : sequence of str
        Names of linear layers: the end of a path ("q_proj": in all blocks) or a whole one ("blocks.0.attn.q_proj").
    dropout : float
        The probability that an input of LoRA's branch is dropped in training.
    rslora : bool
        Scale by alpha / sqrt(r) instead.
    init : {"uniform", "gaussian", "pissa"}
        How A is drawn: U(-1/sqrt(I), 1/sqrt(I)), as loralib and PEFT do, or N(0, 1/r^2), PEFT's reading of the paper's
        "random Gaussian", for which the paper states no deviation. B is zero, so that delta_W starts as zero. "pissa"
        draws nothing: A and B start as W's r largest singular directions (see `PiSSAFactors`).
    dora : bool
        Learn the length of each row of W + delta_W apart from its direction (see `DoRAFactors`).
    dora_exact : bool
        Differentiate through DoRA's norm, which its paper and PEFT treat as a constant.
    rank_pattern, alpha_pattern : dict of str to int or float
        Exceptions, by the same kind of name as in `targets`; the longest name that fits wins.
    besides : sequence of str
        What the adapter trains besides A and B, in a copy of its own: the ends of paths, or whole ones, of parameters
        or of what holds them. ("bias",) are all biases, ("ln_f",) is the last LayerNorm. What is new in a model, such
        as a classifier's head, is always among it.
    """

    rank: int = 8
    alpha: float = 8
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    dropout: float = 0.0
    rslora: bool = False
    init: str = "uniform"
    dora: bool = False
    dora_exact: bool = False
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    besides: tuple[str, ...] = ()

    def __post_init__(self):
        if isinstance(self.targets, str) or not self.targets:
            raise ValueError(f"targets was {self.targets!r}; it must be several names, such as ('q_proj', 'v_proj')")
        for setting in ("targets", "besides"):
            names = getattr(self, setting)
            if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
                raise ValueError(f"{setting} was {names!r}; each must be a name such as 'q_proj'")
            object.__setattr__(self, setting, tuple(names))
        for name, rank in {"rank": self.rank, **self.rank_pattern}.items():
            if not isinstance(rank, (int, numpy.integer)) or isinstance(rank, bool) or rank < 1:
                raise ValueError(f"{_setting('rank', name)} was {rank!r}; it must be an integer of at least 1")
        for name, alpha in {"alpha": self.alpha, **self.alpha_pattern}.items():
            if not is_number(alpha):
                raise ValueError(f"{_setting('alpha', name)} was {alpha!r}; it must be a finite number")
        if not is_number(self.dropout) or not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout was {self.dropout!r}; it must be 0 <= dropout < 1")
        if self.init not in INITS:
            raise ValueError(f"init was {self.init!r}; it must be one of {', '.join(map(repr, INITS))}")
        if self.init == "pissa" and self.dora:
            raise ValueError("dora was True and init 'pissa'; one adapter must be one of the two")
        if self.init == "pissa" and min(self.alpha, *self.alpha_pattern.values(), math.inf) <= 0:
            raise ValueError("init was 'pissa', which divides by alpha; each alpha must be a number above 0")
        if self.dora_exact and not self.dora:
            raise ValueError("dora_exact was True, but dora was False; it says how DoRA is differentiated")

    def rank_of(self, path):
        """The rank for the layer at `path`."""
        return _longest_match(self.rank_pattern, path, self.rank)

    def alpha_of(self, path):
        """The alpha for the layer at `path`."""
        return _longest_match(self.alpha_pattern, path, self.alpha)


def is_number(value) -> bool:
    """Whether it is a number that a float can hold, but no NaN, infinity or boolean."""
    if isinstance(value, (bool, numpy.bool_)) or not isinstance(value, (int, float, numpy.integer, numpy.floating)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False


def _setting(kind, name):
    return kind if name == kind else f"{kind}_pattern[{name!r}]"


def fits(name, path):
    """True if `name` is the path of a layer, or the end of it."""
    return path == name or path.endswith("." + name)


def _longest_match(pattern, path, default):
    names = [name for name in pattern if fits(name, path)]
    return pattern[max(names, key=len)] if names else default
