"""Measuring a model: its loss on data that it was not trained on."""

from concurrent.futures import ThreadPoolExecutor

from minilora.backend import cores, on_host, one_blas_thread, to_numpy
from minilora.ops import cross_entropy_forward


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
    xp = model.xp

    def loss_and_count(batch):
        logits, _ = model.forward(model.place_ids(batch.ids))
        loss, _ = cross_entropy_forward(logits, xp.asarray(batch.targets), xp.asarray(batch.mask))
        return float(to_numpy(loss)), int(batch.mask.sum())

    with one_blas_thread(), ThreadPoolExecutor(cores() if on_host(model.wte.W.data) else 1) as pool:
        results = list(pool.map(loss_and_count, batches))
    total = sum(count for _, count in results)
    if not total:
        raise ValueError("batches held no token that counts")
    return sum(loss * count for loss, count in results) / total
