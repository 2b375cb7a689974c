"""Measuring a model: its loss on data that it was not trained on."""

import math
import sys
from collections.abc import Iterable, Sized
from itertools import islice
from typing import Any

import numpy
from tqdm import tqdm

from minilora.arrays.backend import same_gpu, to_numpy
from minilora.arrays.threads import one_blas_thread, shared_by
from minilora.distributed import SINGLE_PROCESS, Ranks, SingleProcess
from minilora.models.model import Model
from minilora.models.recompute import recomputed
from minilora.training.objective import split_batch, without_padding

MEMORY = 2**29  # bytes that a forward may need on each core; more rows at once would not be faster


def evaluate_loss(
    model: Model,
    batches: Iterable[Any],
    ranks: Ranks | SingleProcess = SINGLE_PROCESS,
    *,
    progress: str | None = None,
) -> float:
    """The mean loss over all counted tokens of the batches, in nats per token.

    Parameters
    ----------
    model : Model
    batches : iterable of LMBatch, ClassificationBatch or MaskedBatch
        Batches on the host. They are shared among the ranks and their cores.
    ranks : SingleProcess or Ranks, optional
        The job that this process belongs to; all its ranks call this, with the same batches.
    progress : str, optional
        The title of a progress bar, which is shown after two seconds.

    Returns
    -------
    loss : float
    """

    def loss_and_count(batch: Any) -> tuple[float, int]:
        parts = split_batch(batch, max(1, math.ceil(batch.ids.size * bytes_per_position(model) / MEMORY)))
        losses = [model.loss(without_padding(model, part), need_grad=False)[0] for part in parts]
        total = sum(float(to_numpy(loss)) * part.n_targets for loss, part in zip(losses, parts, strict=True))
        return total / max(batch.n_targets, 1), batch.n_targets

    threads = ranks.cores[ranks.rank] if model.xp is numpy else 1
    with recomputed(model, True), one_blas_thread(), shared_by(threads, same_gpu()) as map_:
        losses = map_(loss_and_count, islice(batches, ranks.rank, None, ranks.size))
        n = len(batches) if isinstance(batches, Sized) and ranks.size == 1 else None
        hidden = progress is None or sys.stderr is None
        own = list(tqdm(losses, progress, n, unit="batch", delay=2, leave=False, disable=hidden))
    results = [result for of_rank in ranks.gather(own) for result in of_rank]
    total = sum(count for _, count in results)
    if not total:
        raise ValueError("batches held no token that counts")
    return sum(loss * count for loss, count in results) / total


def bytes_per_position(model: Model) -> float:
    """About the bytes that a forward needs for a position: L C numbers, and some 10 C + 4 F in one block."""
    c: Any = model.config
    numbers = c.n_layer * c.d_model + 10 * c.d_model + 4 * c.d_mlp
    return numbers * next(iter(model.parameters())).dtype.itemsize
