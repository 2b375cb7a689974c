"""Rows become one row: nothing that matters is lost, and nothing else is kept."""

import numpy as np
import pytest

from minilora.data import ByteTokenizer, Example, LMBatch, deal_rows, pack_batch, pair_batch
from minilora.training.objective import split_batch

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


def lengths_of(batch):
    return [int(np.flatnonzero(mask)[-1]) + 1 if mask.any() else 0 for mask in batch.loss_mask]


@pytest.mark.parametrize(
    ("lengths", "parts", "loads"),
    [
        ((9, 8, 1, 2, 3, 4), 2, [13, 14]),  # neighbours: 18 and 9
        ((5, 5, 5, 1), 2, [10, 6]),  # two rows each, whatever they hold
        ((7, 1, 1, 7, 4), 2, [11, 9]),  # parts of 2 and of 3 rows; neighbours: 8 and 12
        ((3, 0, 2), 3, [3, 2, 0]),
        ((4, 2), 5, [4, 2]),
    ],
)
def test_rows_are_dealt_so_that_parts_have_about_as_many_tokens_to_read(lengths, parts, loads):
    batch = numbered([[int(t == n - 1) for t in range(9)] for n in lengths])
    dealt = deal_rows(batch, parts)
    found = [sum(lengths_of(part)) for part in split_batch(dealt, parts)]
    assert sorted(found) == sorted(loads)
    assert sorted(map(tuple, dealt.ids)) == sorted(map(tuple, batch.ids)), "the same rows"
    np.testing.assert_array_equal(dealt.targets, dealt.ids + 100)
    assert dealt.n_targets == batch.n_targets


def test_dealt_rows_of_several_texts_keep_their_texts():
    masks = [[0, 1, 0, 1], [1, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]]  # to read: 4, 4, 1, 1; neighbours: 8 and 2
    batch = numbered(masks, text_lengths=((2, 2), (1, 3), (4,), (4,)))
    dealt = deal_rows(batch, 2)
    assert dealt.ids[:, 0].tolist() == [0, 8, 4, 12] and dealt.text_lengths == ((2, 2), (4,), (1, 3), (4,))
    assert [sum(pack_batch(part).text_lengths[0]) for part in split_batch(dealt, 2)] == [5, 5]
