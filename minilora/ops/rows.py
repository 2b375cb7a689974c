"""Arrays with free leading axes, seen as rows: where a gradient is summed over all of them, they are one axis."""

from minilora.arrays.backend import Array


def rows(x: Array) -> Array:
    """(..., C) -> (M, C), where M is the product of the leading axes."""
    return x.reshape(-1, x.shape[-1])
