"""Out of memory: the error says how much a step needs, how much there is, and what to reduce."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from minilora.accounting import step_estimate
from minilora.arrays.backend import gpu_memory

if TYPE_CHECKING:
    from minilora.training.loop import Trainer


class OutOfMemory(RuntimeError):
    """A training step needed more memory than there is."""


@contextlib.contextmanager
def explain_out_of_memory(trainer: "Trainer", batch: Any) -> Iterator[None]:
    """A context in which a MemoryError, NumPy's or CuPy's, becomes an OutOfMemory that says more.

    Parameters
    ----------
    trainer : Trainer
    batch : LMBatch, EpisodeBatch, ClassificationBatch or MaskedBatch
        The batch of the step in this context.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(_explanation(trainer, batch, error)) from error


def _explanation(trainer: "Trainer", batch: Any, error: MemoryError) -> str:
    (N, T), parts = batch.ids.shape, trainer.config.accumulation
    at_once = -(-N // (parts * trainer.ranks.size))  # rows
    needed = step_estimate(trainer.model, batch_size=at_once, length=T)
    states = [array for state in trainer.optimizer.state for array in state.values()]
    needed = needed._replace(optimizer=sum(array.nbytes for array in states))
    sizes = ", ".join(f"{name} {_megabytes(size)}" for name, size in needed._asdict().items())
    shared = f", shared by {trainer.ranks.size} ranks," if trainer.ranks.size > 1 else ""
    there = gpu_memory() if trainer.device == "gpu" else None
    return (
        f"step {trainer.step + 1} does not fit into memory ({str(error).rstrip('.') or 'it is full'}). "
        f"By formula, a step of {N} x {T} tokens in {parts} micro-batch{'es' * (parts > 1)}{shared} needs about "
        f"{_megabytes(needed.total)} MB ({sizes})"
        + (f"; the GPU has {_megabytes(there['size'])} MB, {_megabytes(there['free'])} of them free" if there else "")
        + ". Less is needed with a smaller batch, shorter texts, a higher accumulation (more micro-batches), "
        "or a method that trains less than all weights"
    )


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f}"
