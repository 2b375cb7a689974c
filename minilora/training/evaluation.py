"""Measuring a model: its loss on data that it was not trained on."""

from minilora.backend import to_numpy
from minilora.ops import cross_entropy_forward


def evaluate_loss(model, batches):
    """The mean loss over all counted tokens of the batches, in nats a token.

    Parameters
    ----------
    model : GPT
    batches : iterable of Batch
        On the host.

    Returns
    -------
    loss : float
    """
    total = count = 0
    xp = model.xp
    for batch in batches:
        logits, _ = model.forward(model.place_ids(batch.ids))
        loss, _ = cross_entropy_forward(logits, xp.asarray(batch.targets), xp.asarray(batch.mask))
        here = int(batch.mask.sum())
        total, count = total + here * float(to_numpy(loss)), count + here
    if not count:
        raise ValueError("batches held no token that counts")
    return total / count
