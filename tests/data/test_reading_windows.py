"""Generated passages say what was read, are drawn again from a seed, and hold nothing of mini-E2E."""

import random
import re
from collections import Counter

import numpy as np
import pytest

from minilora.data.copying import LIST_SIGNS, Words, periodic_string, random_string
from minilora.data.corpora import load_corpus
from minilora.data.generated_tasks import FLAGS, LONGEST, Grammar, usable_attributes
from minilora.data.mini_e2e_grammar import SLOTS
from minilora.data.mini_e2e_material import WORD, mini_e2e_material, table_words
from minilora.data.reading_windows import ReadingWindows

ATTRIBUTES = {
    "speed": {"fast": ["rapid", "brisk", "at a run"], "slow": ["sluggish", "unhurried"]},
    "weight": {"light": ["feathery"], "heavy": ["leaden", "massive"]},
    "quality": {"good": ["fine"], "bad": ["awful"]},  # mini-E2E has "good": one value is left, which is too few
    "price": {"dear": ["costly"], "nominal": ["gratis"]},  # a slot of mini-E2E
}
SPLIT = re.compile("|".join(map(re.escape, sorted(LIST_SIGNS, key=len, reverse=True))))


@pytest.fixture(scope="module")
def reading():
    texts = [text for text in load_corpus("prose").texts("train") if not mini_e2e_material(text)]
    return ReadingWindows(texts, ATTRIBUTES)


def passages(reading, kind, n=300, seed=0):
    rng = random.Random(seed)
    return [reading.passage(kind, rng) for _ in range(n)]


@pytest.mark.parametrize("kind", ReadingWindows.KINDS[1:])
def test_a_seed_draws_the_same_again(reading, kind):
    assert passages(reading, kind, 50) == passages(reading, kind, 50) != passages(reading, kind, 50, seed=1)


def test_the_keys_of_a_grammar_are_told_apart():
    """No two have one name, and none has the subject's, however few words there are."""
    words = Words(["meadow", "river", "stone", "cloud"])
    for seed in range(50):
        grammar = Grammar(random.Random(seed), words, {})
        names = [grammar.subject, *(key.name for key in grammar.keys)]
        assert len(set(names)) == len(names) > 1


def test_another_object_has_the_same_grammars(reading):
    texts = [text for text in load_corpus("prose").texts("train") if not mini_e2e_material(text)]
    assert passages(ReadingWindows(texts, ATTRIBUTES), "tasks") == passages(reading, "tasks")
    assert passages(ReadingWindows(texts, ATTRIBUTES, grammar_seed=1), "tasks") != passages(reading, "tasks")


def test_a_string_is_said_whole_or_in_pieces(reading):
    whole = 0
    for read, said in passages(reading, "strings"):
        text = read.removesuffix("\n")
        pieces = [text[i : i + 8] for i in range(0, len(text), 8)]
        assert said == text or sorted(said.split(" ")) == sorted(pieces)
        whole += said == text
    assert 75 < whole < 225


def test_a_period_goes_on(reading):
    for read, said in passages(reading, "periods"):
        assert (read * 200).startswith(said) and 1 <= len(said) <= 200


def test_a_list_says_the_same_names(reading):
    for read, said in passages(reading, "lists"):
        words = [sorted(SPLIT.sub(" ", text).split()) for text in (read, said)]
        assert words[0] == words[1]


def test_a_piece_of_prose_is_repeated(reading):
    for read, said in passages(reading, "repeats"):
        assert read.startswith(said) and len(read) > len(said)


def test_keywords_are_words_of_the_sentence(reading):
    exchanged = 0
    for read, said in passages(reading, "keywords"):
        values = [item.split(": ")[-1] for item in read.strip().split("; ")] if ": " in read else [read.strip()]
        for value in values if ": " in read else []:
            assert value in said, (read, said)
        exchanged += not any(said == sentence for sentence in reading.sentences)
    assert 100 < exchanged < 290  # a name that only the list tells


def test_a_made_up_text_says_every_value_once(reading):
    """A value or what stands for it; and the subject, once."""
    for grammar in reading.grammars[:30]:
        keys = {key.name: key for key in grammar.keys}
        rng = random.Random(5)
        for _ in range(10):
            read, said = grammar.passage(rng)
            assert len(read) + len(said) <= LONGEST
            subject, *items = [item.split(": ", 1) for item in read.strip().split("; ")]
            assert subject[0] == grammar.subject and subject[1].lower() in said.lower()
            assert 1 <= len(items) <= len(keys)
            for name, value in items:
                key = keys[name]
                assert key.values is None or value in key.values
                if value not in key.sayings:  # a flag is said by words for the whole
                    assert any(spoken.lower() in said.lower() for spoken in key.spoken.get(value, [value]))


def test_a_record_is_new_each_time_and_says_every_value_once(reading):
    keys = Counter()
    for read, said in passages(reading, "records"):
        assert len(read) + len(said) <= LONGEST
        (_, subject), *items = [item.split(": ", 1) for item in read.strip().split("; ")]
        assert said.lower().count(subject.lower()) >= 1 and items
        for key, value in items:
            keys[key] += 1
            others = reading.attributes.get(key, {}).get(value, [])
            assert any(spoken.lower() in said.lower() for spoken in [value, *others]), (read, said)
    assert len(keys) > 300 and keys.keys() >= {"speed", "weight"}


def test_flags_are_not_mini_e2es():
    assert {value for pair in FLAGS for value in pair}.isdisjoint(SLOTS["family"])


def test_attributes_with_words_of_mini_e2e_are_left_out():
    assert usable_attributes(ATTRIBUTES).keys() == {"speed", "weight"}


def test_nothing_of_mini_e2e_is_generated(reading):
    """No phrase, pair or shape in any kind; and no word of its tables in what is made of single words."""
    forbidden = table_words()
    for kind in ReadingWindows.KINDS[1:]:
        for read, said in passages(reading, kind, 3000, seed=9):
            assert mini_e2e_material(read + said) is None, (kind, read, said)
            if kind in ("lists", "records", "tasks"):
                assert forbidden.isdisjoint(WORD.findall((read + said).lower())), (kind, read, said)
            if kind == "keywords":
                assert forbidden.isdisjoint(item.split(": ")[0] for item in read.split("; ") if ": " in item)


def test_words_are_drawn_from_those_that_mini_e2e_has_not():
    words, rng = Words(["park", "Harbour", "meadow", "ladle"]), random.Random(0)
    assert words.vocabulary == ["meadow"] and words.known(rng) == "meadow"
    assert all(word not in table_words() for word in (words.made_up(rng) for _ in range(3000)))


def test_a_batch_counts_what_is_said(reading):
    batch = reading.batch(np.random.default_rng(0), {"strings": 1.0}, batch_size=3, length=128)
    assert batch.ids.shape == batch.targets.shape == batch.loss_mask.shape == (3, 128)
    assert (batch.ids[:, 1:] == batch.targets[:, :-1]).all()
    for row in range(3):
        text = bytes(np.append(batch.ids[row], batch.targets[row, -1]).astype(np.uint8))
        expected = []
        for passage in text.split(b"\0"):
            read, line_break, said = passage.partition(b"\n")
            expected += [False] * len(read + line_break) + [True] * (len(said) + 1)
        assert batch.loss_mask[row].tolist() == expected[1:129]


def test_prose_counts_everywhere_and_a_batch_is_drawn_again_from_a_seed(reading):
    parts = {"prose": 0.5, "tasks": 0.5}
    prose = reading.batch(np.random.default_rng(0), {"prose": 1.0}, batch_size=2, length=64)
    assert prose.loss_mask.all() and bytes(prose.ids[0].astype(np.uint8)) in reading.tokens.astype(np.uint8).tobytes()
    first, again = (reading.batch(np.random.default_rng(4), parts, batch_size=8, length=64) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert 0 < first.loss_mask.all(axis=1).sum() < 8


def test_an_unknown_kind_is_refused(reading):
    with pytest.raises(ValueError, match="kind must be one of strings, .*, not 'poems'"):
        reading.passage("poems", random.Random(0))


def test_the_pieces_of_a_string_are_of_eight():
    rng = random.Random(2)
    drawn = [random_string(rng) for _ in range(200)]
    assert {len(piece) for read, said in drawn if " " in said for piece in said.split(" ")[:1]} <= set(range(1, 9))
    assert all(12 <= len(read) - 1 <= 60 for read, _ in drawn)
    assert max(len(periodic_string(rng, Words(["meadow"])).said) for _ in range(200)) <= 200
