"""Arrays with free leading axes, viewed as rows: to sum a gradient over all of them, make them one axis."""

from minilora.arrays.backend import Array


def rows(x: Array) -> Array:
    """(..., C) -> (M, C), where M is the product of the leading axes."""
    return x.reshape(-1, x.shape[-1])
