"""Batches that several ranks share."""

from methods.tiny import some_batch
from minilora.data.batches import LMBatch

EXAMPLES = some_batch(10)  # each row has another number of tokens that count


def draw(rng, N=6):
    rows = rng.choice(10, N, replace=False)
    return LMBatch(*(a[rows] for a in EXAMPLES[:3]))
