"""Arrays as rows of so many numbers, which is how numbers share a scale: blocks (here not a transformer's)."""

from math import prod

from minilora.arrays.backend import Array, get_xp


def in_blocks(x: Array, size: int) -> Array:
    """An array as rows of `size` numbers, the last one filled with zeros: (...) -> (n_blocks, size)"""
    xp, flat = get_xp(x=x), x.reshape(-1)
    missing = -len(flat) % size
    if missing:
        flat = xp.concatenate([flat, xp.zeros(missing, flat.dtype)])
    return flat.reshape(-1, size)


def from_blocks(blocks: Array, shape: tuple[int, ...]) -> Array:
    """The array of this shape that `in_blocks` was given: (n_blocks, size) -> (...)"""
    return blocks.reshape(-1)[: prod(shape)].reshape(shape)


def inverse(scale: Array) -> Array:
    """1 / scale of numbers that are not negative; 0 where one is so small that 1 / scale may be infinite."""
    xp = get_xp(scale=scale)
    usable = scale >= float(xp.finfo(scale.dtype).tiny)
    return usable / xp.where(usable, scale, 1)
