import numpy as np
import pytest

from minilora.data import (
    EOT,
    ByteTokenizer,
    Example,
    encode_documents,
    encode_example,
    pair_batch,
    window_batch,
    windows,
)

tokenizer = ByteTokenizer()
EXAMPLES = [
    Example("in", "out", "0"),
    Example("a longer source", "é", "1"),
    Example("s", "the longest target", "2"),
]


def rng():
    return np.random.default_rng(0)


def check_types(batch):
    assert batch.ids.dtype == batch.targets.dtype == np.int64
    assert batch.loss_mask.dtype == bool
    assert batch.ids.shape == batch.targets.shape == batch.loss_mask.shape


def test_encode_documents_ends_each_text():
    assert encode_documents(["ab", "", "c"], tokenizer).tolist() == [97, 98, EOT, EOT, 99, EOT]
    with pytest.raises(ValueError, match="texts is empty"):
        encode_documents([], tokenizer)


def test_window_batch_is_rows_of_consecutive_tokens():
    tokens = np.arange(30)  # a token is its own place
    batch = window_batch(tokens, rng(), batch_size=500, length=7)
    check_types(batch)
    assert batch.ids.shape == (500, 7)
    np.testing.assert_array_equal(batch.ids, batch.ids[:, :1] + np.arange(7))
    np.testing.assert_array_equal(batch.targets, batch.ids + 1)
    assert batch.loss_mask.all()
    assert set(batch.ids[:, 0]) == set(range(23))  # every place, the first and the last included


def test_window_batch_takes_exactly_length_plus_one_tokens():
    assert window_batch(np.arange(8), rng(), batch_size=2, length=7).targets[0].tolist() == list(range(1, 8))
    with pytest.raises(ValueError, match=r"tokens must hold at least length \+ 1 = 8 tokens, not 7"):
        window_batch(np.arange(7), rng(), batch_size=2, length=7)


@pytest.mark.parametrize("n_tokens", [1, 4, 5, 6, 20, 21, 57])
def test_windows_score_every_token_once(n_tokens):
    tokens = np.arange(n_tokens) + 1
    batches = list(windows(tokens, length=5, batch_size=3, end_of_text=EOT))
    for batch in batches:
        check_types(batch)
        assert batch.ids.shape[0] <= 3 and batch.ids.shape[1] == 5
    scored = np.concatenate([batch.targets[batch.loss_mask] for batch in batches])
    read = np.concatenate([batch.ids[batch.loss_mask] for batch in batches])
    assert scored.tolist() == tokens.tolist()
    assert read.tolist() == [EOT, *tokens[:-1]]
    for batch in batches:
        assert (batch.ids[~batch.loss_mask] == EOT).all()


def test_windows_refuse_nothing():
    with pytest.raises(ValueError, match="tokens is empty"):
        next(windows(np.array([], dtype=np.int64), length=5, batch_size=3, end_of_text=EOT))


def test_encode_example():
    ids, n_source = encode_example(EXAMPLES[0], tokenizer)
    assert ids.dtype == np.int64
    assert bytes(ids.astype(np.uint8)) == b"in\nout\0"
    assert tokenizer.decode(ids[:n_source]) == "in\n"


def test_pair_batch_counts_the_target_and_its_eot_only():
    batch = pair_batch(EXAMPLES, tokenizer, max_length=50)
    check_types(batch)
    assert batch.ids.shape == (3, len("s\nthe longest target"))
    for example, ids, targets, mask in zip(EXAMPLES, *batch[:3], strict=True):
        counted = targets[mask].tolist()
        assert counted == [*example.target.encode("utf-8"), EOT]
        first = int(mask.argmax())
        assert tokenizer.decode(ids[: first + 1]) == example.source + "\n"
        assert ids[1:][mask[1:]].tolist() == targets[:-1][mask[1:]].tolist()


def test_pair_batch_limits():
    longest = len("s\nthe longest target\0")
    assert pair_batch(EXAMPLES, tokenizer, max_length=longest).ids.shape[1] == longest - 1
    message = f"an example has {longest} tokens, more than max_length = {longest - 1}"
    with pytest.raises(ValueError, match=message):
        pair_batch(EXAMPLES, tokenizer, max_length=longest - 1)
    with pytest.raises(ValueError, match="examples is empty"):
        pair_batch([], tokenizer, max_length=9)


def test_sizes_are_checked():
    tokens = np.arange(9)
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        window_batch(tokens, rng(), batch_size=0, length=3)
    with pytest.raises(ValueError, match="length must be at least 1, not -1"):
        next(windows(tokens, length=-1, batch_size=2, end_of_text=EOT))
