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
