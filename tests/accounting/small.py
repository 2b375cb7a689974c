"""A batch for models of V tokens, and what an action takes in memory."""

import tracemalloc

import numpy as np

from minilora.data.batches import LMBatch

V = 80


def batch(N, T):
    ids, targets = np.random.default_rng(1).integers(0, V, (2, N, T))
    return LMBatch(ids, targets, np.ones((N, T), dtype=bool))


def traced(action):
    """(bytes still held after `action`, the most that it held), of what NumPy and Python take."""
    tracemalloc.start()
    try:
        result = action()
        return *tracemalloc.get_traced_memory(), result
    finally:
        tracemalloc.stop()
