"""The training loop: draw a batch, forward, backward, clip, step; measure now and then; write down what happened."""

import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy
from tqdm import tqdm

from minilora.arrays.backend import to_numpy
from minilora.distributed import ALONE
from minilora.files import write_json
from minilora.training.agreement import check_agreement
from minilora.training.bucket import Bucket
from minilora.training.checkpoint import CHECKPOINT, PREVIOUS, save_run
from minilora.training.divergence import check_gradients, check_loss, check_weights
from minilora.training.history import History, concerns
from minilora.training.interruption import Stopped, ctrl_c_asks
from minilora.training.memory import memory_explained
from minilora.training.objective import ThreadedObjective
from minilora.training.optimizers import AdamW, clip_gradients
from minilora.training.run_folder import only_run_in
from minilora.training.schedules import schedule_factor


class Trainer:
    """Trains what is trainable in a model.

    Parameters
    ----------
    model : GPT
    sample_batch : callable
        ``sample_batch(rng) -> batch``, a new host batch at every call.
    config : TrainConfig
    optimizer : Optimizer, optional
        Of the model's parameters, such as ``SGD(model.parameters(), lr)``; if not given, an AdamW as `config` says.
        Its learning rate is `config.lr` times the schedule's factor.
    validate : callable, optional
        ``validate() -> float``, the validation loss.
    folder : str or Path, optional
        Where configuration, metrics and (with `checkpoint_every`) checkpoints are kept.
    checkpoint_every : int, optional
        Save the state every so many steps, and on Ctrl-C; `resume_newest` continues from it.
    about : dict, optional
        What else makes the run this run, for JSON, such as the model's shape and the corpus. It is kept with the
        configuration, and a run continues only where both are the same.
    ranks : Alone or Ranks, optional
        The job that this process belongs to; see `minilora.distributed.join`. All its ranks make the same Trainer, and
        draw the same batches, of which each takes its rows; the first alone writes, and shows progress.
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
        ranks=ALONE,
    ):
        if checkpoint_every is not None and folder is None:
            raise ValueError(f"checkpoint_every was {checkpoint_every}, but folder was None; checkpoints need a folder")
        rows_needed = config.accumulation * ranks.size
        if config.batch_size < rows_needed and ranks.size > 1:
            raise ValueError(
                f"batch_size was {config.batch_size}, for {ranks.size} ranks, accumulation {config.accumulation}; it "
                f"may be an integer of at least {rows_needed}, a row for each rank in each turn"
            )
        self.model = model
        self.sample_batch = sample_batch
        self.config = config
        self.validate = validate
        self.folder = None if folder is None else Path(folder)
        self.checkpoint_every = checkpoint_every
        self.about = about or {}
        self.ranks = ranks
        self.rng = numpy.random.default_rng(config.seed)
        self.optimizer = optimizer or AdamW(
            model.parameters(),
            config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            lr_ratio_B=config.lr_ratio_B,
        )
        self.bucket = Bucket(self.optimizer.parameters, ranks)
        self.history = History()

    @property
    def device(self):
        """Where the model lives: "cpu" or "gpu"."""
        return "cpu" if self.model.xp is numpy else "gpu"

    @property
    def threads(self):
        """Among how many threads each rank shares out its rows of a batch, a number for each rank."""
        each = self.config.threads or (None if self.device == "cpu" else 1)
        return self.ranks.cores if each is None else [each] * self.ranks.size

    def objective(self):
        """What computes this rank's part of a batch's loss and gradients: a ThreadedObjective."""
        threads, rank = self.threads, self.ranks.rank
        share = {"before": sum(threads[:rank]), "total": sum(threads)}
        return ThreadedObjective(self.model, threads[rank], self.config.accumulation, **share)

    @property
    def step(self):
        """How many steps have been taken."""
        return self.optimizer.steps

    @property
    def configuration(self):
        """All that makes this run this run, as a dict: `about`, and the fields of `config`."""
        return {**self.about, **asdict(self.config)}

    def run(self, description="training", progress=True):
        """Take all steps that are left. Returns the History.

        Raises
        ------
        Diverged
            If the loss, a gradient or a weight is infinite or NaN. The last checkpoint stays, and is finite.
        OutOfMemory
            If a step does not fit into the memory. The last checkpoint stays.
        Stopped
            After Ctrl-C, if there are checkpoints: one was written. Without them, Ctrl-C is a KeyboardInterrupt.
        ValueError
            If another run is writing to the folder, or the ranks of a job differ where they must not.
        OSError
            If something cannot be written. What was written before is untouched.
        """
        config = self.config
        is_first = self.ranks.rank == 0
        writes, progress = self.folder and is_first, progress and is_first
        check_agreement(self)
        with only_run_in(self.folder) if writes else nullcontext():
            if writes:
                write_json(self.folder / "config.json", self.configuration)
            bar = tqdm(total=config.steps, initial=self.step, desc=description, unit="step", disable=not progress)
            with bar, self.objective() as objective:
                self._take_all_steps(objective, bar)
            check_agreement(self)
            if writes:
                write_json(self.folder / "history.json", asdict(self.history))
        for concern in concerns(self.history) if progress else ():
            tqdm.write(f"{description}: {concern}")
        return self.history

    def _take_all_steps(self, objective, bar):
        config = self.config
        with ctrl_c_asks() if self.checkpoint_every else nullcontext() as asked:
            while self.step < config.steps:
                stop = self._take_step(objective, bar, asked)
                if self.validate and (self.step % config.eval_every == 0 or self.step == config.steps):
                    self.history.validation.append((self.step, self.validate()))
                if self.ranks.size == 1:
                    stop = asked is not None and asked.is_set()  # also since the step's gradients were there
                if asked is not None and (stop or self.step % self.checkpoint_every == 0):
                    self._save()
                if stop:
                    where = self.folder / CHECKPOINT
                    raise Stopped(f"stopped after step {self.step} of {config.steps}, which is saved in {where}")

    def _save(self):
        check_weights(self.optimizer.parameters, self.step, self.config.lr)
        check_agreement(self)
        path, previous = self.folder / CHECKPOINT, self.folder / PREVIOUS
        self.ranks.from_first(lambda: save_run(self, path, previous=previous))

    def _take_step(self, objective, bar, asked):
        """Returns whether any rank was asked to stop before its gradients were there."""
        config = self.config
        started = time.perf_counter()
        warmup = math.ceil(config.warmup * config.steps)
        factor = schedule_factor(self.step, total=config.steps, warmup=warmup, kind=config.schedule)
        batch = self.sample_batch(self.rng)
        self.model.zero_grad()
        dropout_rng = numpy.random.default_rng([config.seed, self.step])  # of this step, also after a resume
        with memory_explained(self, batch):
            loss = objective.loss_and_backward(batch, dropout_rng)
        loss, stop = self.bucket.allreduce(loss, asked is not None and asked.is_set())
        loss = float(to_numpy(loss))
        check_loss(loss, self.model, self.step + 1, config.lr)
        norm = float(to_numpy(clip_gradients(self.optimizer.parameters, config.max_norm)))
        check_gradients(norm, self.optimizer.parameters, self.step + 1, config.lr)
        self.optimizer.lr = config.lr * factor
        self.optimizer.step()
        history = self.history
        history.seconds += time.perf_counter() - started
        history.losses.append(loss)
        history.grad_norms.append(norm)
        history.tokens += batch.ids.size
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        bar.update()
        return stop
