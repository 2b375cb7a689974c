"""Dropout of the inputs of A (the paper, section 5.1 and its tables of settings), for the duration of a step.

    with adapter_dropout(model, rng):
        loss, cache = model.loss(batch)
    model.backward_loss(1.0, cache)             # the mask is in the cache

Outside such a context nothing is dropped, neither in generation nor in measurement.
"""

import contextlib
from collections.abc import Iterator

import numpy

from minilora.methods.lora.layer import factors_of
from minilora.parameter import Module


@contextlib.contextmanager
def adapter_dropout(model: Module, rng: numpy.random.Generator | None) -> Iterator[None]:
    """A context in which a model's adapters draw their dropout from `rng`, in the order of computation.

    Parameters
    ----------
    model : Module
        With several threads, each needs its own replica.
    rng : numpy.random.Generator, optional
        If not given, there is no dropout.
    """
    dropping = [] if rng is None else [factors for factors in factors_of(model) if factors.dropout]
    for factors in dropping:
        factors.draws_from = rng
    try:
        yield
    finally:
        for factors in dropping:
            factors.draws_from = None
