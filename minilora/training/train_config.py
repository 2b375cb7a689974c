"""How to train, as one checked object."""

from dataclasses import dataclass

from minilora.training.schedules import SCHEDULES


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Parameters
    ----------
    steps, batch_size : int
    lr : float
        The highest learning rate.
    lr_ratio_B : float
        LoRA+: the learning rate of the matrices B, relative to `lr`; see `lora_plus_groups`.
    weight_decay : float
    betas : pair of float
    warmup : float
        The fraction of steps spent warming up; 0.06 is the paper's for RoBERTa.
    schedule : {"linear", "cosine", "constant"}
    max_norm : float
        The gradients' joint norm is clipped to this.
    accumulation : int
        Micro-batches per step (gradient accumulation).
    threads : int, optional
        Threads that share a batch, per rank. By default one on a GPU; on a CPU, the ranks on a machine share its cores.
    recompute : bool
        Keep only what enters each block, and run it again in the backward: less memory, more time, and the same result
        to the bit. See `models/recompute.py`.
    eval_every : int
        Steps between validations; there is one at the end as well.
    seed : int
    """

    steps: int = 300
    batch_size: int = 8
    lr: float = 1e-3
    lr_ratio_B: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.06
    schedule: str = "linear"
    max_norm: float = 1.0
    accumulation: int = 1
    threads: int | None = None
    recompute: bool = False
    eval_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas was {self.betas!r}; it must be two numbers, each 0 <= beta < 1")
        for name in ("steps", "batch_size", "accumulation", "eval_every"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} was {getattr(self, name)!r}; it must be an integer of at least 1")
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise ValueError(f"threads was {self.threads!r}; it must be an integer of at least 1, or None")
        if not isinstance(self.recompute, bool):
            raise ValueError(f"recompute was {self.recompute!r}; it must be True or False")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed was {self.seed!r}; it must be an integer of at least 0")
        if not self.max_norm > 0.0:
            raise ValueError(f"max_norm was {self.max_norm!r}; it must be a number above 0 (math.inf does not clip)")
        if not 0.0 <= self.warmup <= 1.0:
            raise ValueError(f"warmup was {self.warmup!r}; it must be a fraction of the steps, from 0 to 1")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule was {self.schedule!r}; it must be one of {', '.join(map(repr, SCHEDULES))}")
