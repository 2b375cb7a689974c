"""Packing: the texts of a batch in one row, so that nothing is computed for padding.

    "the cat sat .  .  ."          3 rows of 6, of which 7 are padding
    "a dog ran away .  ."    ->    "the cat sat | a dog ran away | yes no"      text_lengths = ((3, 4, 2),)
    "yes no .  .  .  .  ."

A linear map, a norm and an activation read each token by itself, and do not notice. Attention must see only its own
text, and positions start again at 0 in each: text_lengths says where. So each token's logits stay what they were, and
because the loss is a mean over the tokens that count, so do the loss and the gradients, up to rounding.

What follows a text's last target that counts cannot matter either, because attention looks back only; it is cut off.

(Krell et al., "Efficient sequence packing without cross-contamination", 2021, section 3.)
"""

import numpy as np

from minilora.data.batches import LMBatch


def pack_batch(batch: LMBatch) -> LMBatch:
    """All texts of a batch in one row, each up to its last target that counts.

    Parameters
    ----------
    batch : LMBatch
        N rows of T tokens, of one text each, or of several.

    Returns
    -------
    LMBatch
        One row, without padding, and without the texts in which nothing counts. If nothing counts at all, it holds the
        first token alone.
    """
    text, place, needed = _texts(batch)
    if not needed.any():
        needed[0] = 1
    kept = np.flatnonzero(place < needed[text])  # (T',) in the flat batch
    ids, targets, loss_mask = (array.ravel()[kept][None] for array in batch[:3])  # (N, T) -> (1, T')
    return LMBatch(ids, targets, loss_mask, (tuple(needed[needed > 0].tolist()),))


def tokens_read(batch: LMBatch) -> int:
    """How many tokens have to be read for the loss of a batch: those that `pack_batch` keeps."""
    return int(_texts(batch)[2].sum())


def deal_rows(batch: LMBatch, parts: int) -> LMBatch:
    """The rows of a batch in an order in which parts of neighbouring rows have about as many tokens to read each.

    Threads that take a part each would otherwise wait for the one with the longest texts. From the longest row to the
    shortest, each goes to the part that has the least to read so far and still has room (Graham, "Bounds on
    multiprocessing timing anomalies", 1969).

    Parameters
    ----------
    batch : LMBatch
        N rows.
    parts : int
        Part i will be rows N i // parts to N (i + 1) // parts - 1, as `training.objective.split_batch` cuts them.

    Returns
    -------
    LMBatch
        The same rows; within a part they stand in the order that they had.
    """
    N = len(batch.ids)
    _, place, needed = _texts(batch)
    row_of_text = np.flatnonzero(place == 0) // batch.ids.shape[1]  # (M,)
    tokens = np.bincount(row_of_text, weights=needed, minlength=N)  # (N,) to read in each row
    room = [N * (i + 1) // parts - N * i // parts for i in range(parts)]
    dealt: list[list[int]] = [[] for _ in range(parts)]
    for row in np.argsort(-tokens, kind="stable").tolist():
        open_parts = [rows for rows, most in zip(dealt, room, strict=True) if len(rows) < most]
        min(open_parts, key=lambda rows: tokens[rows].sum()).append(row)
    order = [row for rows in dealt for row in sorted(rows)]
    lengths = batch.text_lengths and tuple(batch.text_lengths[row] for row in order)
    return LMBatch(batch.ids[order], batch.targets[order], batch.loss_mask[order], lengths)


def _texts(batch: LMBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each token of the flat batch, (N T,): its text, and its place in it; for each text: how long it has to be."""
    N, T = batch.ids.shape
    lengths = np.array([n for row in batch.text_lengths or ((T,),) * N for n in row])  # (M,) of each text
    starts = np.cumsum(lengths) - lengths  # (M,)
    text = np.repeat(np.arange(len(lengths)), lengths)  # (N T,)
    place = np.arange(N * T) - starts[text]  # (N T,)
    counts = batch.loss_mask.ravel()  # (N T,)
    needed = np.zeros(len(lengths), dtype=np.int64)  # (M,)
    np.maximum.at(needed, text[counts], place[counts] + 1)
    return text, place, needed
