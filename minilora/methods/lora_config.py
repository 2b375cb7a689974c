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

    def __post_init__(self):
        if isinstance(self.targets, str) or not self.targets:
            raise ValueError(f"targets was {self.targets!r}; it may be several names, such as ('q_proj', 'v_proj')")
        object.__setattr__(self, "targets", tuple(self.targets))
        if not all(isinstance(target, str) for target in self.targets):
            raise ValueError(f"targets was {self.targets!r}; each may be a name such as 'q_proj'")
        for name, rank in {"rank": self.rank, **self.rank_pattern}.items():
            if not isinstance(rank, (int, numpy.integer)) or isinstance(rank, bool) or rank < 1:
                raise ValueError(f"{_setting('rank', name)} was {rank!r}; it may be an integer of at least 1")
        for name, alpha in {"alpha": self.alpha, **self.alpha_pattern}.items():
            if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
                raise ValueError(f"{_setting('alpha', name)} was {alpha!r}; it may be a finite number")
        if not isinstance(self.dropout, (int, float)) or not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout was {self.dropout!r}; it may be 0 <= dropout < 1")
        if self.init not in INITS:
            raise ValueError(f"init was {self.init!r}; it may be one of {', '.join(map(repr, INITS))}")
        if self.init == "pissa" and self.dora:
            raise ValueError("dora was True and init 'pissa'; one adapter may be one of the two")
        if self.init == "pissa" and min(self.alpha, *self.alpha_pattern.values(), math.inf) <= 0:
            raise ValueError("init was 'pissa', which divides by alpha; each alpha may be a number above 0")
        if self.dora_exact and not self.dora:
            raise ValueError("dora_exact was True, but dora was False; it says how DoRA is differentiated")

    def rank_of(self, path):
        """The rank for the layer at `path`."""
        return _longest_match(self.rank_pattern, path, self.rank)

    def alpha_of(self, path):
        """The alpha for the layer at `path`."""
        return _longest_match(self.alpha_pattern, path, self.alpha)


def _setting(kind, name):
    return kind if name == kind else f"{kind}_pattern[{name!r}]"


def fits(name, path):
    """True if `name` is the path of a layer, or the end of it."""
    return path == name or path.endswith("." + name)


def _longest_match(pattern, path, default):
    names = [name for name in pattern if fits(name, path)]
    return pattern[max(names, key=len)] if names else default
