"""Rotary position embedding: q and k are rotated by angles that grow with the position (Su et al., 2021, RoFormer).

The head's K numbers are K / 2 points of a plane: number i and number i + K/2 are the coordinates of point i, as in
Hugging Face's Llama. (The paper, and llama.cpp, take neighbours, 2 i and 2 i + 1; that is a permutation of the rows of
W_q and W_k, and ends at the loader.) At position t, point i turns by the angle t f_i; `ops/rope_table.py` has cos and
sin of these angles.

    y1 = x1 cos - x2 sin         x1 = x[..., :K/2], the first coordinates of all points
    y2 = x1 sin + x2 cos         x2 = x[..., K/2:], the second

A rotation by t f_i followed by a scalar product with one by s f_i depends on t - s alone: q_t . k_s does not know where
the text begins.

Derivation. y = R x with a rotation R in each plane, so dx = R^T dy, and the transpose of a rotation is the rotation
back: by minus the angle. In coordinates, each x occurs twice:

    dx1 = dy1 cos + dy2 sin      dx2 = dy2 cos - dy1 sin
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp


class RopeCache(NamedTuple):
    cos: Array  # (T, K/2) or (N, 1, T, K/2)
    sin: Array


def rope_forward(x: Array, cos: Array, sin: Array) -> tuple[Array, RopeCache]:
    """Rotate each point (x_i, x_{i + K/2}) by its angle.

    Parameters
    ----------
    x : ndarray of shape (N, H, T, K)
        Queries or keys.
    cos, sin : ndarray of shape (T, K/2) or (N, 1, T, K/2), of x's dtype
        From `rope_table`; constants.

    Returns
    -------
    y : ndarray of shape (N, H, T, K)
    cache : RopeCache

    Raises
    ------
    ValueError
        If there is not one angle for each two of the K numbers, at each of the T positions.
    """
    check_angles(x, cos)
    half = cos.shape[-1]
    x1, x2 = x[..., :half], x[..., half:]  # (N, H, T, K) -> (N, H, T, K/2)
    y1 = x1 * cos - x2 * sin  # (N, H, T, K/2)
    y2 = x1 * sin + x2 * cos
    y = get_xp(x=x, cos=cos, sin=sin).concatenate([y1, y2], axis=-1)  # (N, H, T, K)
    return y, RopeCache(cos, sin)


def rope_backward(dy: Array, cache: RopeCache) -> Array:
    """The gradient with respect to x, (N, H, T, K): dy, rotated by minus the angle."""
    cos, sin = cache
    # forward: y = R(angle) x   so   dx = R(angle)^T dy = R(-angle) dy
    dx, _ = rope_forward(dy, cos, -sin)
    return dx


def check_angles(x: Array, cos: Array) -> None:
    """Refuse angles that are not one for each two numbers of a head, at each position (a single one would always fit).

    Raises
    ------
    ValueError
    """
    if (x.shape[-2], x.shape[-1]) != (cos.shape[-2], 2 * cos.shape[-1]):
        raise ValueError(
            f"cos had shape {cos.shape}; for x of shape {x.shape} it must end in (T, K/2) = "
            f"({x.shape[-2]}, {x.shape[-1] / 2:g})"
        )
