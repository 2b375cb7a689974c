"""Several texts in one row: each is read as if it were alone, by every decoder, forward and backward."""

import re

import numpy as np
import pytest

from minilora.models import GPT
from models.tiny_llama import tiny_llama

LENGTHS = ((3, 1, 5), (4, 2, 3))  # N, T = 2, 9
IDS = np.random.default_rng(3).integers(0, 13, (2, 9))
DLOGITS = np.random.default_rng(4).standard_normal((2, 9, 13))


@pytest.fixture(params=["GPT", "Llama"])
def model(request, make_model):
    return make_model() if request.param == "GPT" else tiny_llama("biases everywhere")


def pieces():
    """The texts of the rows: (row, from, to)."""
    for n, lengths in enumerate(LENGTHS):
        ends = np.cumsum(lengths)
        yield from ((n, end - length, end) for length, end in zip(lengths, ends, strict=True))


def test_each_text_gives_what_it_gives_alone(model):
    logits, cache = model.forward(IDS, text_lengths=LENGTHS)
    model.backward(DLOGITS, cache)
    together = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    for n, start, end in pieces():
        alone, cache = model.forward(IDS[n : n + 1, start:end])
        np.testing.assert_allclose(logits[n, start:end], alone[0], atol=1e-12)
        model.backward(DLOGITS[n : n + 1, start:end], cache)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(together[name], p.grad, atol=1e-12, err_msg=name)


def test_a_text_does_not_see_the_one_before_it_to_the_bit(model):
    changed = IDS.copy()
    changed[0, :3] = (IDS[0, :3] + 1) % 13
    before, after = (model.forward(ids, text_lengths=LENGTHS)[0] for ids in (IDS, changed))
    assert np.array_equal(before[0, 3:], after[0, 3:])
    assert not np.isclose(before[0, :3], after[0, :3]).all(axis=-1).any()
    assert not np.array_equal(*(model.forward(ids)[0][0, 3:] for ids in (IDS, changed)))  # as one text, it would


def test_a_row_can_be_longer_than_the_longest_text(model):
    ids, lengths = LONG, ((9, 9), (9, 9))
    logits, _ = model.forward(ids, text_lengths=lengths)
    np.testing.assert_allclose(logits[:, 9:], model.forward(IDS)[0], atol=1e-12)


LONG = np.tile(IDS, (1, 2))
WRONG = {
    "too few rows": (IDS, ((3, 6),), "text_lengths had 1 rows; it must have 2"),
    "a row too short": (IDS, ((3, 6), (4, 4)), "text_lengths[1] was (4, 4); its lengths must sum to 9"),
    "too long a text": (LONG, ((10, 8), (9, 9)), "text_lengths had a text of 10 tokens; n_positions is 9"),
}


@pytest.mark.parametrize(("ids", "lengths", "message"), WRONG.values(), ids=WRONG.keys())
def test_lengths_that_do_not_fit_are_refused(model, ids, lengths, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        model.forward(ids, text_lengths=lengths)


def test_texts_cannot_be_continued(model):
    with pytest.raises(ValueError, match="text_lengths came with a past; a row that is continued must be one text"):
        model.forward(IDS, past=model.new_past(2), text_lengths=LENGTHS)


def test_positions_that_do_not_restart_are_noticed(monkeypatch, model):
    def straight(self, ids, past=None, text_lengths=None):
        return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)

    if isinstance(model, GPT):
        monkeypatch.setattr("minilora.models.decoder.Decoder.positions", straight)
        with pytest.raises(AssertionError):
            test_each_text_gives_what_it_gives_alone(model)
    else:  # attention sees differences of positions, and these are the same within a text
        monkeypatch.setattr("minilora.models.decoder.Decoder.positions", straight)
        test_each_text_gives_what_it_gives_alone(model)
