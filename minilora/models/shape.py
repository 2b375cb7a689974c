"""Checks that the configurations of all models share: sizes are integers, heads divide channels."""

import math

import numpy


def check_sizes(config, names, least=1):
    """Make the fields of a frozen configuration Python integers of at least `least`, or raise a ValueError."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, (int, numpy.integer)) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} was {value!r}; it may be an integer of at least {least}")
        object.__setattr__(config, name, int(value))


def check_eps(config):
    """Raise a ValueError unless layer_norm_eps is a number that LayerNorm can add."""
    eps = config.layer_norm_eps
    if not isinstance(eps, (int, float)) or not 0.0 <= eps < math.inf:
        raise ValueError(f"layer_norm_eps was {eps!r}; it may be a finite number of at least 0")


def check_heads(config):
    """Raise a ValueError unless the heads divide the channels."""
    if config.d_model % config.n_head:
        raise ValueError(f"n_head was {config.n_head}; it must divide d_model = {config.d_model}")
