"""Where the tokens of a prefix go: into a batch, into a prompt, into each stage."""

import numpy as np
import pytest

from minilora.layers import Embedding
from minilora.methods.prefix_tokens import Prefix

V, C = 20, 3
IDS = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
TARGETS = np.array([[2, 3, 4, 0], [6, 7, 8, 0], [10, 11, 12, 0]])
MASK = np.array([[False, True, True, False], [True, True, False, False], [False, False, False, False]])


def prefix(n_before, n_after, stages=1):
    tables = [Embedding(np.random.default_rng(i).standard_normal((n_before + n_after, C))) for i in range(stages)]
    return Prefix(tables, n_before, n_after, V)


def test_before_the_prompt_come_the_first_ids_and_after_it_the_others():
    """A prompt ends with the token that predicts the first counted target; where nothing counts, with the row."""
    ids, _, _ = prefix(2, 1).insert(IDS, TARGETS, MASK)
    assert ids.tolist() == [[20, 21, 1, 2, 22, 3, 4], [20, 21, 5, 22, 6, 7, 8], [20, 21, 9, 10, 11, 12, 22]]


def test_the_last_token_of_the_prefix_predicts_what_the_prompts_last_token_did():
    ids, targets, mask = prefix(1, 2).insert(IDS, TARGETS, MASK)
    assert ids[0].tolist() == [20, 1, 2, 21, 22, 3, 4]
    assert targets[0].tolist() == [0, 2, 0, 0, 3, 4, 0]
    assert mask[0].tolist() == [False, False, False, False, True, True, False]


@pytest.mark.parametrize("sizes", [(1, 2), (3, 0), (0, 1)])
def test_the_same_targets_count_in_the_same_order(sizes):
    ids, targets, mask = prefix(*sizes).insert(IDS, TARGETS, MASK)
    assert mask.sum(axis=1).tolist() == MASK.sum(axis=1).tolist()
    assert targets[mask].tolist() == TARGETS[MASK].tolist()
    assert [row[row < V].tolist() for row in ids] == IDS.tolist()


def test_nothing_passed_in_is_changed():
    before = [array.copy() for array in (IDS, TARGETS, MASK)]
    prefix(2, 2).insert(IDS, TARGETS, MASK)
    assert all(map(np.array_equal, (IDS, TARGETS, MASK), before))


def test_a_prompt_is_a_batch_of_one_in_which_nothing_counts():
    p = prefix(2, 3)
    (row,), _, _ = p.insert(IDS[:1], TARGETS[:1], np.zeros((1, 4), bool))
    assert p.insert_prompt(IDS[0]).tolist() == row.tolist()


def test_a_stage_with_a_table_replaces_and_one_without_does_not():
    p = prefix(1, 1, stages=2)
    ids, _, _ = p.insert(IDS, TARGETS, MASK)
    x = np.random.default_rng(9).standard_normal((*ids.shape, C))
    for stage in (0, 1):
        y, _ = p.forward(x, ids, stage)
        assert np.array_equal(y[ids == V], np.tile(p.tables[stage].W.data[0], (3, 1)))
        assert np.array_equal(y[ids < V], x[ids < V])
    assert p.forward(x, ids, stage=2)[0] is x


def test_wte_is_asked_for_known_tokens_only():
    ids, _, _ = prefix(2, 2).insert(IDS, TARGETS, MASK)
    known = prefix(2, 2).known_ids(ids)
    assert known.max() == V - 1 and np.array_equal(known[ids < V], ids[ids < V])
