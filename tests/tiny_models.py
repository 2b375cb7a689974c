"""The one way in which the tests make a tiny model."""

import numpy as np


def at_a_generic_point(model_class, config, *, dtype="float64", seed=0, spread=0.3):
    """A model whose weights, gains and biases are all generic: none is 0 or 1, where a wrong gradient can hide."""
    draw = np.random.default_rng(seed)
    model = model_class(config, draw, dtype=dtype)
    for p in model.parameters():
        p.data += (spread * draw.standard_normal(p.data.shape)).astype(dtype)
    return model
