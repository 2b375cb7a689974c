"""Masked bytes: how many are chosen, what becomes of them, and that nothing else changes."""

import numpy as np
import pytest

from minilora.data import EncoderTokenizer, encode_text_rows, masked_window_batch, masked_windows
from minilora.data.encoder_tokenizer import END, FIRST_BYTE, MASK, PAD, START
from minilora.data.masked import hide

tokenizer = EncoderTokenizer()
LETTER = FIRST_BYTE + 65


def rng(seed=0):
    return np.random.default_rng(seed)


def check_types(batch):
    assert batch.ids.dtype == batch.targets.dtype == np.int64
    assert batch.padding_mask.dtype == batch.loss_mask.dtype == bool
    assert batch.ids.shape == batch.padding_mask.shape == batch.targets.shape == batch.loss_mask.shape
    assert batch.n_targets == np.count_nonzero(batch.loss_mask)


def test_texts_in_a_row_are_parted_by_an_end():
    assert tokenizer.decode(encode_text_rows(["ab", "", "c"])) == "ab</s></s>c</s>"
    with pytest.raises(ValueError, match="texts is empty"):
        encode_text_rows([])


def test_15_percent_are_chosen_of_which_80_are_masked_10_random_and_10_kept():
    targets = np.full((400, 500), LETTER)
    ids, counted = hide(targets, rng())
    assert counted.mean() == pytest.approx(0.15, abs=0.003)
    chosen = ids[counted]
    random = (chosen != MASK) & (chosen != LETTER)
    assert (chosen == MASK).mean() == pytest.approx(0.8, abs=0.01)
    assert random.mean() == pytest.approx(0.1 * 255 / 256, abs=0.01)
    assert (chosen == LETTER).mean() == pytest.approx(0.1 + 0.1 / 256, abs=0.01)
    assert set(chosen[random]) == {*range(FIRST_BYTE, tokenizer.vocab_size)} - {LETTER}
    assert (ids[~counted] == LETTER).all()


def test_special_tokens_are_never_chosen():
    targets = np.tile([START, LETTER, END, MASK, PAD], (500, 40))
    ids, counted = hide(targets, rng())
    assert not counted[targets != LETTER].any() and counted.any()
    np.testing.assert_array_equal(ids[~counted], targets[~counted])


def test_hiding_leaves_the_targets_alone():
    targets = np.full((20, 30), LETTER)
    hide(targets, rng())
    assert (targets == LETTER).all()


def test_a_batch_is_windows_from_everywhere_between_start_and_end():
    tokens = np.arange(30) + FIRST_BYTE  # a token tells its own place
    batch = masked_window_batch(tokens, rng(), batch_size=600, length=9)
    check_types(batch)
    assert batch.ids.shape == (600, 9) and batch.padding_mask.all()
    assert (batch.targets[:, 0] == START).all() and (batch.targets[:, -1] == END).all()
    np.testing.assert_array_equal(batch.targets[:, 1:-1], batch.targets[:, 1:2] + np.arange(7))
    assert set(batch.targets[:, 1] - FIRST_BYTE) == set(range(24)), "the first place and the last included"
    np.testing.assert_array_equal(batch.ids[~batch.loss_mask], batch.targets[~batch.loss_mask])


def test_masks_are_new_at_every_step():
    tokens = np.full(7, LETTER)
    draw = rng()
    assert len({masked_window_batch(tokens, draw, batch_size=40, length=9).ids.tobytes() for _ in range(9)}) == 9


def test_batches_follow_the_seed():
    tokens = encode_text_rows(["Return the number of items in the queue."])
    one, same, other = (masked_window_batch(tokens, rng(s), batch_size=2, length=20).ids.tobytes() for s in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize("n_tokens", [1, 5, 7, 8, 40])
def test_windows_hold_every_token_once(n_tokens):
    tokens = np.arange(n_tokens) + FIRST_BYTE
    batches = list(masked_windows(tokens, length=9, batch_size=3))
    for batch in batches:
        check_types(batch)
        assert len(batch.ids) <= 3 and batch.ids.shape[1] <= 9
        assert (batch.ids[~batch.padding_mask] == PAD).all() and not batch.loss_mask[~batch.padding_mask].any()
    read = [target for batch in batches for target in batch.targets[batch.padding_mask] if target >= FIRST_BYTE]
    assert read == tokens.tolist()


def test_evaluation_hides_the_same_bytes_every_time():
    tokens = encode_text_rows(["Return the number of items in the queue."])
    one, same, other = (
        np.concatenate([b.ids for b in masked_windows(tokens[:35], length=9, batch_size=2, seed=s)]) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_sizes_are_checked():
    tokens = np.full(7, LETTER)
    with pytest.raises(ValueError, match=r"tokens must hold at least length - 2 = 8 tokens, not 7"):
        masked_window_batch(tokens, rng(), batch_size=2, length=10)
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        masked_window_batch(tokens, rng(), batch_size=0, length=5)
    with pytest.raises(ValueError, match="length must be at least 3"):
        masked_window_batch(tokens, rng(), batch_size=1, length=2)
    with pytest.raises(ValueError, match="length must be at least 3"):
        next(masked_windows(tokens, batch_size=1, length=2))
    with pytest.raises(ValueError, match="tokens is empty"):
        next(masked_windows(tokens[:0], batch_size=1, length=9))
