"""Measuring a model: its loss on data that it was not trained on."""

from concurrent.futures import ThreadPoolExecutor

import numpy

from minilora.backend import to_numpy
from minilora.threads import cores, one_blas_thread


def evaluate_loss(model, batches):
    """The mean loss over all counted tokens of the batches, in nats a token.

    Parameters
    ----------
    model : GPT
    batches : iterable of Batch
        On the host. They are shared out among the cores.

    Returns
    -------
    loss : float
    """

    def loss_and_count(batch):
        loss, _ = model.loss(*batch, need_grad=False)
        return float(to_numpy(loss)), batch.n_targets

    with one_blas_thread(), ThreadPoolExecutor(cores() if model.xp is numpy else 1) as pool:
        results = list(pool.map(loss_and_count, batches))
    total = sum(count for _, count in results)
    if not total:
        raise ValueError("batches held no token that counts")
    return sum(loss * count for loss, count in results) / total
