"""Several texts in one row: which text each position belongs to."""

from collections.abc import Sequence
from itertools import accumulate


def check_text_lengths(text_lengths: Sequence[Sequence[int]], N: int, T: int) -> None:
    """Refuse lengths that are not of N rows of T positions each.

    Raises
    ------
    ValueError
        If there are not N rows, a length is negative, or the lengths of a row do not sum to T.
    """
    if len(text_lengths) != N:
        raise ValueError(f"text_lengths had {len(text_lengths)} rows; it must have {N}, one for each row of the batch")
    for n, lengths in enumerate(text_lengths):
        if sum(lengths) != T or min(lengths, default=0) < 0:
            raise ValueError(f"text_lengths[{n}] was {lengths!r:.100}; its lengths must sum to {T}, the row's length")


def texts_of_positions(text_lengths: Sequence[Sequence[int]], N: int, T: int) -> list[list[int]]:
    """The number of the text at each of T positions of N rows: ((2, 1),) gives [[0, 0, 1]]."""
    check_text_lengths(text_lengths, N, T)
    return [[text for text, length in enumerate(lengths) for _ in range(length)] for lengths in text_lengths]


def text_bounds(text_lengths: Sequence[Sequence[int]], N: int, T: int) -> list[list[tuple[int, int]]]:
    """Where the text of each of T positions of N rows starts and stops: ((2, 1),) gives [[(0, 2), (0, 2), (2, 3)]]."""
    check_text_lengths(text_lengths, N, T)
    return [
        [
            bounds
            for length, stop in zip(lengths, accumulate(lengths), strict=True)
            for bounds in [(stop - length, stop)] * length
        ]
        for lengths in text_lengths
    ]
