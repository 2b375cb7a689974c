"""The training loop: draw a batch, forward, backward, clip, step; measure now and then; write down what happened."""

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy
from tqdm import tqdm

from minilora.backend import to_numpy
from minilora.files import write_json
from minilora.threads import cores
from minilora.training.checkpoint import CHECKPOINT, save_run
from minilora.training.objective import ThreadedObjective
from minilora.training.optimizers import AdamW, clip_gradients
from minilora.training.schedules import SCHEDULES, schedule_factor


class Diverged(ValueError):
    """The loss became infinite or no number at all: the learning rate was too high, most often."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Parameters
    ----------
    steps, batch_size : int
    lr : float
        The highest learning rate.
    lr_ratio_B : float
        LoRA+: the learning rate of the matrices B, relative to `lr`.
    weight_decay : float
    betas : pair of float
    warmup : float
        The part of the steps in which the learning rate rises; 0.06 is the paper's for RoBERTa.
    schedule : {"linear", "cosine", "constant"}
    max_norm : float
        The gradients' joint norm is clipped to this.
    accumulation : int
        In how many turns a batch is computed.
    threads : int, optional
        Among how many threads a batch is shared out; if not given, as many as there are cores on a CPU, one on a GPU.
    eval_every : int
        Validate every so many steps, and at the end.
    seed : int
    """

    steps: int = 300
    batch_size: int = 16
    lr: float = 1e-3
    lr_ratio_B: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.06
    schedule: str = "linear"
    max_norm: float = 1.0
    accumulation: int = 1
    threads: int | None = None
    eval_every: int = 100
    seed: int = 0

    def __post_init__(self):
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas was {self.betas!r}; each may be 0 <= beta < 1")
        for name in ("steps", "batch_size", "accumulation", "eval_every"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} was {getattr(self, name)!r}; it may be an integer of at least 1")
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise ValueError(f"threads was {self.threads!r}; it may be an integer of at least 1, or None")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed was {self.seed!r}; it may be an integer of at least 0")
        if not self.max_norm > 0.0:
            raise ValueError(f"max_norm was {self.max_norm!r}; it may be a number above 0 (math.inf does not clip)")
        if not 0.0 <= self.warmup <= 1.0:
            raise ValueError(f"warmup was {self.warmup!r}; it is a part of the steps, from 0 to 1")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule was {self.schedule!r}; it may be one of {', '.join(map(repr, SCHEDULES))}")


@dataclass
class History:
    """What a run measured; losses are in nats a counted token."""

    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)
    seconds: float = 0.0  # of training steps alone
    tokens: int = 0  # positions computed, N T a step, padding included


class Trainer:
    """Trains what is trainable in a model.

    Parameters
    ----------
    model : GPT
    sample_batch : callable
        ``sample_batch(rng) -> Batch``, a new host batch at every call.
    config : TrainConfig
    optimizer : Optimizer, optional
        Of the model's parameters, such as ``SGD(model.parameters(), lr)``; if not given, an AdamW as `config` says.
        Its learning rate is `config.lr` times the schedule's factor.
    validate : callable, optional
        ``validate() -> float``, the validation loss.
    folder : str or Path, optional
        Where configuration, metrics and (with `checkpoint_every`) checkpoints are kept.
    checkpoint_every : int, optional
        Save the state every so many steps; `resume_run` continues from it.
    about : dict, optional
        What else makes the run this run, for JSON, such as the model's shape and the corpus. It is kept with the
        configuration, and a run continues only where both are the same.
    """

    def __init__(
        self,
        model,
        sample_batch,
        config,
        *,
        optimizer=None,
        validate=None,
        folder=None,
        checkpoint_every=None,
        about=None,
    ):
        if checkpoint_every is not None and folder is None:
            raise ValueError(f"checkpoint_every was {checkpoint_every}, but folder was None; checkpoints need a folder")
        self.model = model
        self.sample_batch = sample_batch
        self.config = config
        self.validate = validate
        self.folder = None if folder is None else Path(folder)
        self.checkpoint_every = checkpoint_every
        self.about = about or {}
        self.rng = numpy.random.default_rng(config.seed)
        self.optimizer = optimizer or AdamW(
            model.parameters(),
            config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            lr_ratio_B=config.lr_ratio_B,
        )
        self.history = History()

    @property
    def device(self):
        """Where the model lives: "cpu" or "gpu"."""
        return "cpu" if self.model.xp is numpy else "gpu"

    @property
    def threads(self):
        """Among how many threads a batch is shared out."""
        return self.config.threads or (cores() if self.device == "cpu" else 1)

    @property
    def step(self):
        """How many steps have been taken."""
        return self.optimizer.steps

    def run(self, description="training", progress=True):
        """Take all steps that are left. Returns the History."""
        config = self.config
        if self.folder:
            write_json(self.folder / "config.json", {**self.about, **asdict(config)})
        bar = tqdm(total=config.steps, initial=self.step, desc=description, unit="step", disable=not progress)
        with bar, ThreadedObjective(self.model, self.threads, config.accumulation) as objective:
            while self.step < config.steps:
                self._take_step(objective, bar)
                if self.validate and (self.step % config.eval_every == 0 or self.step == config.steps):
                    self.history.validation.append((self.step, self.validate()))
                if self.checkpoint_every and self.step % self.checkpoint_every == 0:
                    save_run(self, self.folder / CHECKPOINT)
        if self.folder:
            write_json(self.folder / "history.json", asdict(self.history))
        return self.history

    def _take_step(self, objective, bar):
        config = self.config
        started = time.perf_counter()
        warmup = math.ceil(config.warmup * config.steps)
        factor = schedule_factor(self.step, total=config.steps, warmup=warmup, kind=config.schedule)
        batch = self.sample_batch(self.rng)
        self.model.zero_grad()
        dropout_rng = numpy.random.default_rng([config.seed, self.step])  # of this step, also after a resume
        loss = float(to_numpy(objective.loss_and_backward(batch, dropout_rng)))
        if not math.isfinite(loss):
            raise Diverged(f"the loss became {loss} at step {self.step + 1}; a lower lr than {config.lr} may help")
        norm = float(to_numpy(clip_gradients(self.optimizer.parameters, config.max_norm)))
        self.optimizer.lr = config.lr * factor
        self.optimizer.step()
        history = self.history
        history.seconds += time.perf_counter() - started
        history.losses.append(loss)
        history.grad_norms.append(norm)
        history.tokens += batch.ids.size
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        bar.update()
