"""Making a token: what `forward` computes for one new position of each row, without what a backward needs.

A decoder, however it is adapted, becomes a flat list of arrays (`flatten`). Then a token is two sums for each block,

    x = x + W_o attention(q, keys, values) + bias,   [q k v] = W_qkv norm(x) + bias
    x = x + W_down f(W_up norm(x)) + bias            f is GELU; a Llama has two W_up, and f is silu(gate) * up

and the keys and values of all earlier positions are in the key-value cache. `new_logits` is all of it. It equals
`forward` up to rounding.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minilora.arrays.backend import Array, get_xp
from minilora.layers import KeyValueCache


class FlatBlock(NamedTuple):
    """A block as functions of rows: each takes (N, I) and returns (N, O)."""

    norm_1: Callable[[Array], Array]
    qkv: Callable[[Array], Array]  # q, k and v side by side: O = (H + 2 G) K
    o: Callable[[Array], Array]
    norm_2: Callable[[Array], Array]
    up: Callable[[Array], Array]  # or gate and up side by side
    activation: Callable[[Array], Array]
    down: Callable[[Array], Array]


@dataclass(frozen=True)
class FlatDecoder:
    """A decoder as a list of arrays and functions of rows, for `new_logits`; made by `flatten`.

    Parameters
    ----------
    embed : callable
        ``embed(tokens, t)``: the rows that enter the first block, (N,) -> (N, C).
    rotation : pair of ndarray, each (T, 2, K/2), or None
        cos and sin of RoPE's angles, the sin of the first half negative.
    blocks : list of FlatBlock
    norm_f, head : callable
    n_head, n_kv_head : int
        H and G.
    """

    embed: Callable[[Array, Any], Array]
    rotation: tuple[Array, Array] | None
    blocks: Sequence[FlatBlock]
    norm_f: Callable[[Array], Array]
    head: Callable[[Array], Array]
    n_head: int
    n_kv_head: int


def new_logits(flat: FlatDecoder, tokens: Array, t: int | Array, past: Sequence[KeyValueCache]) -> Array:
    """Logits for the token after each of N new ones, whose keys and values are added to `past`.

    Parameters
    ----------
    flat : FlatDecoder
    tokens : integer ndarray of shape (N,)
        The new token of each row, where the model lives.
    t : int, or integer ndarray of shape (N,)
        Its position: one for all rows, or one for each.
    past : list of KeyValueCache
        Holds positions 0 to t - 1. Where rows differ, what lies beyond a row's own t is finite, and not seen.

    Returns
    -------
    logits : ndarray of shape (N, V)
    """
    N, H, G = len(tokens), flat.n_head, flat.n_kv_head
    x = flat.embed(tokens, t)  # (N,) -> (N, C)
    for block, memory in zip(flat.blocks, past, strict=True):
        heads = block.qkv(block.norm_1(x)).reshape(N, H + 2 * G, -1)  # (N, C) -> (N, H + 2 G, K)
        if flat.rotation is not None:
            rotate(heads[:, : H + G], flat.rotation, t)
        q, k, v = heads[:, :H], heads[:, H : H + G], heads[:, H + G :]
        keys, values, unseen = remember(memory, k, v, t)  # (N, G, T, K), twice
        scores = q.reshape(N, G, H // G, -1) @ keys.swapaxes(-1, -2)  # (N, G, H/G, K) -> (N, G, H/G, T)
        y = softmax(scores, q.shape[-1], unseen) @ values  # (N, G, H/G, K)
        x = x + block.o(y.reshape(N, -1))  # (N, H K) -> (N, C)
        x += block.down(block.activation(block.up(block.norm_2(x))))  # (N, C) -> (N, F) -> (N, C)
    return flat.head(flat.norm_f(x))  # (N, C) -> (N, V)


def remember(memory: KeyValueCache, k: Array, v: Array, t: int | Array) -> tuple[Array, Array, Array | None]:
    """Keep k and v, (N, G, K), of position t. Return all keys and values so far, and which ones a row must not see."""
    if isinstance(t, int):
        memory.keys[:, :, t], memory.values[:, :, t] = k, v
        memory.length = t + 1
        return memory.keys[:, :, : t + 1], memory.values[:, :, : t + 1], None
    xp, T = get_xp(k=k), memory.length
    rows = xp.arange(len(k))
    memory.keys[rows, :, t], memory.values[rows, :, t] = k, v
    unseen = xp.arange(T) > t[:, None, None, None]  # (N, 1, 1, T)
    return memory.keys[:, :, :T], memory.values[:, :, :T], unseen


def softmax(scores: Array, K: int, unseen: Array | None) -> Array:
    """softmax(scores / sqrt(K)) over the last axis, in place; an unseen key gets nothing."""
    xp = get_xp(scores=scores)
    scores *= 1.0 / math.sqrt(K)
    if unseen is not None:
        scores = xp.where(unseen, -math.inf, scores)
    scores -= scores.max(axis=-1, keepdims=True)
    xp.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def rotate(heads: Array, rotation: tuple[Array, Array], t: int | Array) -> None:
    """Rotate queries and keys, (N, H + G, K), of position t in place, as `ops/rope.py` does."""
    cos, sin = (table[t] if isinstance(t, int) else table[t][:, None] for table in rotation)  # (..., 2, K/2)
    x = heads.reshape(*heads.shape[:-1], 2, -1)  # (N, H + G, K) -> (N, H + G, 2, K/2)
    y = x[..., ::-1, :] * sin  # y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin
    y += x * cos
    heads[...] = y.reshape(heads.shape)
