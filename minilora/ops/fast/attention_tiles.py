"""The tiles of attention, and its heads in groups: how `fast/attention.py` lays out its arrays."""

from collections.abc import Iterator, Sequence

from minilora.arrays.backend import Array, ArrayModule, get_xp, on_host
from minilora.arrays.chunks import l2_chunks
from minilora.ops.text_lengths import check_text_lengths

QUERIES = 64  # of one tile


def attention_tiles(
    xp: ArrayModule, q: Array, k: Array, causal: bool, text_lengths: Sequence[Sequence[int]] | None
) -> Iterator[tuple[slice, slice, slice, bool]]:
    """Slices (n, i, j) of sequences, queries and keys that cover everything nonzero in probs, (N, H, T_q, T).

    On a CPU, a tile is 64 queries of a text x the keys of the text that they can see x as many sequences as fit in L2.
    (With `text_lengths`, one sequence.) On a GPU, one tile covers a whole text.

    Yields
    ------
    n, i, j : slice
    is_last : bool
        True for the last queries of a text, which see all its keys. Every text has such a tile, if without queries.
    """
    (N, H, T_q, _), T = q.shape, k.shape[2]
    if text_lengths is None:
        queries = QUERIES if on_host(q) else max(T_q, 1)
        rows = [(n, 0, T) for n in l2_chunks(N, H * min(queries, T_q) * T * q.itemsize, xp)]
    else:
        check_text_lengths(text_lengths, N, T)
        rows = list(_texts(text_lengths))
    for n, start, stop in rows:
        first, end = max(start - (T - T_q), 0), max(stop - (T - T_q), 0)  # of the text's queries
        queries = QUERIES if on_host(q) else max(end - first, 1)
        for i in range(first, max(end, first + 1), queries):
            i_stop = min(i + queries, end)
            j_stop = min(i_stop + T - T_q, stop) if causal else stop
            yield n, slice(i, i_stop), slice(start, j_stop), i_stop == end


def _texts(text_lengths: Sequence[Sequence[int]]) -> Iterator[tuple[slice, int, int]]:
    """Row, first position and end of every text."""
    for n, lengths in enumerate(text_lengths):
        start = 0
        for length in lengths:
            if length:
                yield slice(n, n + 1), start, start + length
            start += length


def of_groups(x: Array, G: int) -> Array:
    """(N, H, T, K) -> (N, G, M, K): the M = (H / G) T rows of the heads of each group, one after the other."""
    N, H, T, K = x.shape
    return x if H == G else x.reshape(N, G, H // G * T, K)


def of_heads(x: Array, like: Array) -> Array:
    """(N, G, M, j) -> (N, H, T, j), with the N, H and T of `like`: what `of_groups` did, undone."""
    return x.reshape(*like.shape[:3], x.shape[3])


def multiply_into(total: Array, probs: Array, v: Array) -> None:
    """total = probs v, (N, H, i, j), (N, G, j, K) -> (N, H, i, K), where the heads of a group share v."""
    if probs.shape[1] == v.shape[1]:
        get_xp(total=total, probs=probs, v=v).matmul(probs, v, out=total)
    else:
        total[...] = of_heads(of_groups(probs, v.shape[1]) @ v, total)


def empty_heads(xp: ArrayModule, like: Array) -> Array:
    """An empty (N, H, T, K) that is laid out in memory as (N, T, H, K), so that merging the heads copies nothing."""
    N, H, T, K = like.shape
    return xp.empty((N, T, H, K), dtype=like.dtype).transpose(0, 2, 1, 3)
