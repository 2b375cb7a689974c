"""The training loop: draw a batch, forward, backward, clip, step; measure now and then; record what happened."""

import math
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
from tqdm import tqdm

from minilora.data import LMBatch
from minilora.data.packing import tokens_read
from minilora.distributed import SINGLE_PROCESS, Ranks, SingleProcess
from minilora.files import write_json
from minilora.methods.selection import check_integer
from minilora.models.model import Model
from minilora.models.recompute import recomputed
from minilora.training.agreement import check_ranks_in_sync
from minilora.training.bucket import Bucket
from minilora.training.checkpoint import CHECKPOINT, PREVIOUS, save_run
from minilora.training.default_optimizer import default_optimizer
from minilora.training.divergence import advise_on_divergence, check_validation, check_weights
from minilora.training.history import History, diagnose
from minilora.training.interruption import Stopped, defer_sigint
from minilora.training.memory import explain_out_of_memory
from minilora.training.objective import DataParallel
from minilora.training.optimizers import Optimizer
from minilora.training.run_folder import FolderLock, lock_run_folder
from minilora.training.schedules import schedule_factor
from minilora.training.step import train_step
from minilora.training.train_config import TrainConfig


class Trainer:
    """Trains the trainable parameters of a model.

    Parameters
    ----------
    model : Model
    sample_batch : callable
        ``sample_batch(rng) -> batch``, a new host batch at every call.
    config : TrainConfig
    optimizer : Optimizer, optional
        For the model's parameters, such as ``SGD(model.parameters(), lr)``; if not given, an AdamW with the settings of
        `config`, or what else the method wants: see `default_optimizer`. Its learning rate is `config.lr` times the
        schedule's factor.
    validate : callable, optional
        ``validate() -> float``, the validation loss.
    folder : str or Path, optional
        Where configuration, metrics and (with `checkpoint_every`) checkpoints are kept.
    checkpoint_every : int, optional
        Steps between checkpoints, which are also made on Ctrl-C; `resume_newest` continues from them.
    about : dict, optional
        What else identifies the run, for JSON, such as the model's shape and the corpus. It is saved with the
        configuration, and a run continues only if both are the same.
    ranks : SingleProcess or Ranks, optional
        The job that this process belongs to; see `minilora.distributed.join`. All its ranks make the same Trainer and
        draw the same batches, and each takes its own rows; only the first writes, and shows progress.
    """

    def __init__(
        self,
        model: Model,
        sample_batch: Callable[[numpy.random.Generator], Any],
        config: TrainConfig,
        *,
        optimizer: Optimizer | None = None,
        validate: Callable[[], float] | None = None,
        folder: str | Path | None = None,
        checkpoint_every: int | None = None,
        about: dict[str, Any] | None = None,
        ranks: Ranks | SingleProcess = SINGLE_PROCESS,
    ) -> None:
        if checkpoint_every is not None and folder is None:
            raise ValueError(f"checkpoint_every was {checkpoint_every}, but folder was None; checkpoints need a folder")
        if checkpoint_every is not None:
            check_integer("checkpoint_every", checkpoint_every)
        rows_needed = config.accumulation * ranks.size
        if config.batch_size < rows_needed and ranks.size > 1:
            raise ValueError(
                f"batch_size was {config.batch_size}, for {ranks.size} ranks, accumulation {config.accumulation}; it "
                f"must be an integer of at least {rows_needed}, a row for each rank in each micro-batch"
            )
        self.model = model
        self.sample_batch = sample_batch
        self.config = config
        self.validate = validate
        self.folder: Any = None if folder is None else Path(folder)
        self.checkpoint_every = checkpoint_every
        self.about = about or {}
        self.ranks = ranks
        self.rng = numpy.random.default_rng(config.seed)
        self.optimizer = optimizer or default_optimizer(model, config)
        self.bucket = Bucket(model.trainable_parameters(), ranks)
        self.history = History()
        self.kept_threads: list[int] | None = None  # those that the run began with, according to a checkpoint
        self._lock: FolderLock | None = None

    @property
    def device(self) -> str:
        """Where the model lives: "cpu" or "gpu"."""
        return "cpu" if self.model.xp is numpy else "gpu"

    @property
    def threads(self) -> list[int]:
        """The number of threads that share each rank's rows of a batch, one number per rank.

        They are those that the run began with, because the order of a sum, and so its last bits, depends on them.
        """
        n = self.ranks.size
        if self.kept_threads and len(self.kept_threads) == n:
            return self.kept_threads
        if self.kept_threads:
            total = sum(self.kept_threads)
            return [max(1, total * (i + 1) // n - total * i // n) for i in range(n)]
        each = self.config.threads or (None if self.device == "cpu" else 1)
        return self.ranks.cores if each is None else [each] * n

    def keep_threads(self, threads: list[int]) -> None:
        """Continue with the threads that each rank had when the run began."""
        self.kept_threads = threads
        if sum(threads) < self.ranks.size:
            warnings.warn(
                f"the run began with {sum(threads)} threads in all, and continues with {self.ranks.size} ranks of one "
                "thread each: its numbers will match an uninterrupted run's up to rounding, but not with dropout",
                stacklevel=6,
            )

    def objective(self) -> DataParallel:
        """The DataParallel that computes this rank's part of a batch's loss and gradients."""
        threads, rank = self.threads, self.ranks.rank
        share = {"before": sum(threads[:rank]), "total": sum(threads)}
        return DataParallel(self.model, threads[rank], self.config.accumulation, **share)

    @property
    def step(self) -> int:
        """How many steps have been taken."""
        return self.optimizer.steps

    @property
    def configuration(self) -> dict[str, Any]:
        """Everything that identifies this run, as a dict: `about`, and the fields of `config`."""
        return {**self.about, **asdict(self.config)}

    def run(self, description: str = "training", progress: bool = True) -> History:
        """Take all remaining steps, and return the History.

        Raises
        ------
        Diverged
            If the loss, a gradient or a weight is infinite or NaN. The last checkpoint remains, and is finite.
        OutOfMemory
            If a step does not fit into memory. The last checkpoint remains.
        Stopped
            After Ctrl-C, once a checkpoint was written. Without checkpoints, Ctrl-C raises a KeyboardInterrupt.
        ValueError
            If another run is writing to the folder, or the ranks of a job differ where they must not.
        OSError
            If something cannot be written. What was written before is untouched.
        """
        config = self.config
        progress = progress and self.ranks.rank == 0 and sys.stderr is not None
        check_ranks_in_sync(self)
        with self.folder_to_itself():
            if self._writes:
                write_json(self.folder / "config.json", self.configuration)
            bar = tqdm(total=config.steps, initial=self.step, desc=description, unit="step", disable=not progress)
            with bar, recomputed(self.model, config.recompute), self.objective() as objective:
                with advise_on_divergence(config.lr):
                    self._take_all_steps(objective, bar)
            check_ranks_in_sync(self)
            if self._writes:
                self.check_folder()
                write_json(self.folder / "history.json", asdict(self.history))
        for concern in diagnose(self.history) if progress else ():
            tqdm.write(f"{description}: {concern}", file=sys.stderr)
        return self.history

    @property
    def _writes(self) -> bool:
        return self.folder is not None and self.ranks.rank == 0

    @contextmanager
    def folder_to_itself(self) -> Iterator[None]:
        """A context in which no other run writes to the folder; see `lock_run_folder`.

        `run` enters it, and can be called inside it: to read an earlier run's files, or to write this run's results,
        do all of that inside one context.
        """
        if self._lock is not None or not self._writes:
            yield
            return
        with lock_run_folder(self.folder) as self._lock:
            try:
                yield
            finally:
                self._lock = None

    def check_folder(self) -> None:
        """Raise a FileNotFoundError if the folder was removed, or replaced, since it was locked."""
        if self._lock is not None:
            self._lock.check()

    def _take_all_steps(self, objective: DataParallel, bar: Any) -> None:
        with defer_sigint() if self.checkpoint_every else nullcontext() as asked:
            while self.step < self.config.steps:
                stop = self._take_step(objective, asked)
                bar.set_postfix(loss=f"{self.history.losses[-1]:.3f}", refresh=False)
                bar.update()
                self._validate_if_due()
                stop = stop or (self.ranks.size == 1 and _is_set(asked))
                self._save_if_due(stop)
                if stop:
                    where = self.folder / CHECKPOINT
                    raise Stopped(f"stopped after step {self.step} of {self.config.steps}, which is saved in {where}")

    def _take_step(self, objective: DataParallel, asked: threading.Event | None) -> bool:
        """Take one step; return whether any rank was asked to stop before its gradients were ready."""
        config, stop = self.config, False
        started = time.perf_counter()
        batch = self.sample_batch(self.rng)
        dropout_rng = numpy.random.default_rng(
            [config.seed, self.step]
        )  # depends on the step, so it is the same after resuming

        def backward(model: Model, batch: Any) -> Any:
            nonlocal stop
            with explain_out_of_memory(self, batch):
                loss = objective.loss_and_backward(batch, dropout_rng)
            loss, stop = self.bucket.allreduce(loss, _is_set(asked))
            return loss

        loss, norm = train_step(
            self.model, self.optimizer, batch, lr=self._rate(), max_norm=config.max_norm, backward=backward
        )
        history = self.history
        history.seconds += time.perf_counter() - started
        history.losses.append(loss)
        history.grad_norms.append(norm)
        history.tokens += tokens_read(batch) if isinstance(batch, LMBatch) else batch.ids.size
        return stop

    def _rate(self) -> float:
        """The learning rate of the next step."""
        config = self.config
        warmup = math.ceil(config.warmup * config.steps)
        return config.lr * schedule_factor(self.step, total=config.steps, warmup=warmup, kind=config.schedule)

    def _validate_if_due(self) -> None:
        done = self.step == self.config.steps
        validates = self.validate is not None and (done or self.step % self.config.eval_every == 0)
        if done or validates:
            check_weights(self.optimizer.parameters, self.step)
        if validates and self.validate is not None:
            loss = self.validate()
            check_validation(loss, self.step)
            self.history.validation.append((self.step, loss))

    def _save_if_due(self, stop: bool) -> None:
        if self.checkpoint_every is not None and (stop or self.step % self.checkpoint_every == 0):
            check_weights(self.optimizer.parameters, self.step)
            check_ranks_in_sync(self)
            self.ranks.bcast_from_root(self._save)

    def _save(self) -> None:
        self.check_folder()
        save_run(self, self.folder / CHECKPOINT, previous=self.folder / PREVIOUS)


def _is_set(asked: threading.Event | None) -> bool:
    return asked is not None and asked.is_set()
