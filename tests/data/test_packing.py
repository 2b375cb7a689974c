"""Rows become one row: nothing that matters is lost, and nothing else is kept."""

import numpy as np
import pytest

from minilora.data import ByteTokenizer, Example, LMBatch, pack_batch, pair_batch

MASKS = {
    "ends at the last target that counts": ([[0, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]], (4, 1, 5)),
    "a row in which nothing counts": ([[0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 0, 0]], (3, 3)),
    "without padding": ([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [0, 1, 0, 1, 1]], (5, 5, 5)),
}


def numbered(mask, text_lengths=None):
    """A batch in which a token is its own number, and its target that number plus 100."""
    mask = np.array(mask, dtype=bool)
    ids = np.arange(mask.size).reshape(mask.shape)
    return LMBatch(ids, ids + 100, mask, text_lengths)


@pytest.mark.parametrize(("mask", "lengths"), MASKS.values(), ids=MASKS)
def test_each_text_is_kept_up_to_its_last_target_that_counts(mask, lengths):
    batch = numbered(mask)
    packed = pack_batch(batch)
    assert packed.text_lengths == (lengths,) and packed.ids.shape == (1, sum(lengths))
    rows = [row for row, mask in zip(batch.ids, batch.loss_mask) if mask.any()]
    kept = np.concatenate([row[:n] for row, n in zip(rows, lengths, strict=True)])
    np.testing.assert_array_equal(packed.ids[0], kept)
    np.testing.assert_array_equal(packed.targets, packed.ids + 100)
    np.testing.assert_array_equal(packed.loss_mask[0], batch.loss_mask.ravel()[kept])
    assert packed.n_targets == batch.n_targets
    assert packed.ids.dtype == batch.ids.dtype and packed.loss_mask.dtype == bool


def test_a_batch_in_which_nothing_counts_keeps_one_token():
    packed = pack_batch(numbered(np.zeros((2, 3))))
    assert packed.text_lengths == ((1,),) and packed.ids.tolist() == [[0]] and packed.n_targets == 0


def test_rows_of_several_texts_are_packed_text_by_text():
    batch = numbered([[1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0]], text_lengths=((2, 4), (3, 3)))
    packed = pack_batch(batch)
    assert packed.text_lengths == ((1, 2, 2),)
    assert packed.ids.tolist() == [[0, 2, 3, 9, 10]]
    assert pack_batch(packed)[3] == packed.text_lengths, "and a packed row stays what it is"


def test_pairs_lose_their_padding_and_keep_source_and_target():
    examples = [Example("s" * n, "t" * (12 - n), str(n)) for n in (1, 5, 9)]
    batch = pair_batch([*examples, Example("longest", "t" * 30, "")], ByteTokenizer(), max_length=64)
    packed = pack_batch(batch)
    (lengths,) = packed.text_lengths
    assert lengths == (13, 13, 13, 38) and batch.ids.size == 4 * 38
    texts = [ByteTokenizer().decode(text) for text in np.split(packed.ids[0], np.cumsum(lengths)[:-1])]
    assert texts[:3] == [f"{e.source}\n{e.target}" for e in examples]


def test_nothing_passed_in_is_changed():
    batch = numbered(MASKS["a row in which nothing counts"][0])
    before = [a.copy() for a in batch[:3]]
    pack_batch(batch)
    assert all((a == b).all() for a, b in zip(before, batch[:3]))
