"""Measuring a model: its loss on data that it was not trained on."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy

from minilora.arrays.backend import same_gpu, to_numpy
from minilora.arrays.threads import one_blas_thread
from minilora.distributed import SINGLE_PROCESS, Ranks, SingleProcess
from minilora.models.model import Model
from minilora.training.objective import without_padding


def evaluate_loss(model: Model, batches: Iterable[Any], ranks: Ranks | SingleProcess = SINGLE_PROCESS) -> float:
    """The mean loss over all counted tokens of the batches, in nats per token.

    Parameters
    ----------
    model : Model
    batches : iterable of LMBatch, ClassificationBatch or MaskedBatch
        Batches on the host. They are shared among the ranks and their cores.
    ranks : SingleProcess or Ranks, optional
        The job that this process belongs to; all its ranks call this, with the same batches.

    Returns
    -------
    loss : float
    """

    def loss_and_count(batch: Any) -> tuple[float, int]:
        loss, _ = model.loss(without_padding(model, batch), need_grad=False)
        return float(to_numpy(loss)), batch.n_targets

    threads = ranks.cores[ranks.rank] if model.xp is numpy else 1
    with one_blas_thread(), ThreadPoolExecutor(threads, initializer=same_gpu()) as pool:
        own = list(pool.map(loss_and_count, islice(batches, ranks.rank, None, ranks.size)))
    results = [result for of_rank in ranks.gather(own) for result in of_rank]
    total = sum(count for _, count in results)
    if not total:
        raise ValueError("batches held no token that counts")
    return sum(loss * count for loss, count in results) / total
