"""Checks that all models share: sizes are integers, heads divide channels, ids are rows of the embedding."""

import sys

import numpy

from minilora.arrays.backend import on_host


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
    if not isinstance(eps, (int, float)) or not 0.0 <= eps <= sys.float_info.max:
        raise ValueError(f"layer_norm_eps was {eps!r}; it may be a finite number of at least 0")


def check_precision(dtype):
    """Raise a ValueError unless it is float32 or float64; float16 is for files, and too coarse to compute in."""
    if dtype is None or dtype not in ("float32", "float64"):
        raise ValueError(
            f"dtype was {dtype!r}; it may be 'float32' or 'float64' (float16 of a file is computed in float32)"
        )


def check_heads(config):
    """Raise a ValueError unless the heads divide the channels."""
    if config.d_model % config.n_head:
        raise ValueError(f"n_head was {config.n_head}; it must divide d_model = {config.d_model}")


def check_ids(ids, V):
    """Raise a ValueError unless ids are integers of shape (N, T); on the host also unless each is from 0 to V - 1."""
    if ids.ndim != 2 or ids.shape[1] < 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"ids had shape {ids.shape} and dtype {ids.dtype}; they may be integers of shape (N, T), T at least 1"
        )
    if on_host(ids) and ids.size and not (ids.min() >= 0 and ids.max() < V):
        raise ValueError(f"ids ran from {ids.min()} to {ids.max()}; each must be from 0 to {V - 1}")
