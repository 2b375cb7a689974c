"""One token at a time: the same tokens as `generate`, and a session that reads only what is new."""

import numpy as np
import pytest

from methods.tiny import CONFIG, EVERYWHERE, rng, tiny_gpt, tiny_lora, with_B
from minilora import generate, merge_lora, set_adapter, stream
from minilora.methods import LoRAConfig, PrefixConfig, apply_lora, apply_prefix
from minilora.models import Session

SEED = 28
PROMPT = [1, 4, 1]
LIMIT = CONFIG.n_positions


@pytest.fixture
def model():
    return tiny_gpt(seed=SEED)


class Reads:
    """How many tokens each call of a model's forward has read."""

    def __init__(self, model):
        self.lengths, self.forward = [], model.hidden
        model.hidden = self

    def __call__(self, ids, past=None, text_lengths=None):
        self.lengths.append(ids.shape[1])
        return self.forward(ids, past, text_lengths)


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5, "top_k": 7}], ids=["greedy", "drawn"])
def test_the_tokens_are_those_of_generate(model, settings):
    (expected,) = generate(model, [PROMPT], max_tokens=4, **settings, rng=rng(3))
    assert list(stream(model, PROMPT, max_tokens=4, **settings, rng=rng(3))) == expected
    assert len(set(expected)) > 1


def test_a_token_comes_before_the_next_is_computed(model):
    reads = Reads(model)
    tokens = stream(model, PROMPT, max_tokens=4)
    assert reads.lengths == []
    next(tokens)
    first = len(reads.lengths)
    next(tokens)
    assert first >= 1
    assert len(reads.lengths) <= first + 1


def test_several_stop_tokens_the_first_to_come_ends_it(model):
    whole = list(stream(model, PROMPT, max_tokens=5))
    assert list(stream(model, PROMPT, max_tokens=5, stop=[whole[3], whole[2]])) == whole[: whole.index(whole[2])]
    assert generate(model, [PROMPT], max_tokens=5, stop={whole[3], whole[2]}) == [whole[: whole.index(whole[2])]]
    assert list(stream(model, PROMPT, max_tokens=5, stop=())) == whole


@pytest.mark.parametrize("stop", ["x", 1.5, [1, "x"], True], ids=str)
def test_what_cannot_be_a_stop_token_is_refused_at_once(model, stop):
    with pytest.raises(TypeError, match="stop was .*; it must be a token id"):
        stream(model, PROMPT, max_tokens=5, stop=stop)


def test_errors_come_at_the_call_and_not_at_the_first_token(model):
    with pytest.raises(ValueError, match="max_tokens was 0"):
        stream(model, PROMPT, max_tokens=0)


# ---- sessions


def said(model, prompt, n=2):
    return generate(model, [prompt], max_tokens=n)[0]


def test_a_second_turn_reads_only_what_is_new_and_says_what_a_new_reading_says(model):
    session = Session(model)
    first = list(session.stream(PROMPT, max_tokens=2))
    reads = Reads(model)
    turn = [*PROMPT, *first, 7, 2]
    second = list(session.stream(turn, max_tokens=1))
    assert sum(reads.lengths) == 3  # the last token said, which no step had read, and the two new ones
    del model.hidden
    assert second == said(model, turn, 1)


@pytest.mark.parametrize("prompt", [PROMPT, PROMPT[:2], [1, 4, 5, 6], [9, 9], [1, 4, 1, 0, 3]], ids=str)
def test_another_prompt_goes_back_to_where_they_differ(model, prompt):
    session = Session(model)
    list(session.stream(PROMPT, max_tokens=3))
    assert list(session.stream(prompt, max_tokens=2)) == said(model, prompt)


def test_an_iterator_can_be_left_at_any_token(model):
    for n in range(4):
        session = Session(model)
        tokens = session.stream(PROMPT, max_tokens=4)
        for _ in range(n):
            next(tokens)
        tokens.close()
        turn = [*PROMPT, 8]
        assert list(session.stream(turn, max_tokens=2)) == said(model, turn)


def test_a_session_notices_another_adapter():
    adapted = tiny_lora(LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE), seed=SEED)
    session = Session(adapted)
    on = list(session.stream(PROMPT, max_tokens=4))
    set_adapter(adapted, None)
    off = list(session.stream(PROMPT, max_tokens=4))
    assert off == said(tiny_gpt(seed=SEED), PROMPT, 4)
    set_adapter(adapted, "default")
    merge_lora(adapted)
    assert list(session.stream(PROMPT, max_tokens=4)) == on != off


def test_a_session_notices_an_adapter_of_the_same_shapes():
    config = LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE)
    adapted = tiny_lora(config, seed=SEED)
    apply_lora(adapted, config, rng=rng(8), name="other")
    with_B(adapted, seed=9)
    session = Session(adapted)
    for name in ("other", "default"):
        set_adapter(adapted, name)
        assert list(session.stream(PROMPT, max_tokens=4)) == said(adapted, PROMPT, 4)


def test_forget_reads_everything_again(model):
    session = Session(model)
    list(session.stream(PROMPT, max_tokens=2))
    model.wte.W.data[...] = model.wte.W.data[:, ::-1]
    session.forget()
    assert list(session.stream(PROMPT, max_tokens=3)) == said(model, PROMPT, 3)


def test_a_session_with_a_prefix_inserts_it_in_each_turn(model):
    apply_prefix(model, PrefixConfig("layer", before=1, after=1), rng=rng(1))
    session = Session(model)
    for turn in ([1, 4], [1, 4, 3], [1, 2]):
        assert list(session.stream(turn, max_tokens=2)) == said(model, turn)


def test_a_session_stops_at_n_positions(model):
    assert len(list(Session(model).stream([1] * (LIMIT - 2), max_tokens=9))) == 2
    assert np.array_equal(said(model, [1] * (LIMIT - 1), 9), list(stream(model, [1] * (LIMIT - 1), max_tokens=9)))
