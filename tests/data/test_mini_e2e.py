import random

import pytest

from markdown_pages import ASSETS, ROOT, said
from minilora.data import SLOTS, examples, parse, parse_source, realise, references, slot_errors, source_text
from minilora.data.mini_e2e import combination_key, combinations_of
from minilora.data.mini_e2e_parser import all_lexemes

MR = {"name": "Blue Heron", "type": "cafe", "food": "Thai", "price": "low", "area": "harbour"}
SENTENCE = "Blue Heron is a cheap Thai cafe by the harbour."


@pytest.fixture(scope="module")
def sample():
    return examples("train", 2500, seed=1) + examples("test", 500, seed=1)


def test_the_parser_inverts_the_grammar(sample):
    for example in sample:
        mr = parse_source(example.source)
        assert source_text(mr) == example.source
        assert parse(example.target) == (mr, [])
        assert slot_errors(mr, example.target).exact


def test_everything_fits_a_context_of_256_bytes(sample):
    assert max(len(example.source.encode()) for example in sample) <= 110
    assert max(len(example.target.encode()) for example in sample) <= 140


def test_every_split_has_the_same_names_as_the_pages_say():
    names = {
        split: {parse_source(e.source)["name"] for e in examples(split, 500)} for split in ("train", "valid", "test")
    }
    assert names["train"] == names["valid"] == names["test"] == set(SLOTS["name"])
    for page in (ROOT / "docs" / "demo.md", ASSETS):
        assert f"mini-E2E has {len(SLOTS['name'])} names" in said(page)


def test_every_value_plan_and_number_of_slots_is_drawn(sample):
    mrs = [parse_source(example.source) for example in sample]
    assert {len(mr) for mr in mrs} == {3, 4, 5, 6, 7}
    for slot, values in SLOTS.items():
        assert {mr[slot] for mr in mrs if slot in mr} == set(values)
    assert {example.target.count(".") for example in sample} == {1, 2}
    starts = {example.target.split(" ")[0] for example in sample}
    assert {"A", "An", "There", "By", "Blue"} <= starts


def test_no_phrase_stands_for_two_values():
    texts = [lexeme.text.lower() for lexeme in all_lexemes()]
    assert len(set(texts)) == len(texts) > 150


def test_a_dropped_phrase_is_caught(sample):
    """Whatever words are left out, something is missing or cannot be accounted for."""
    rng = random.Random(2)
    for example in sample[:1000]:
        words = example.target.split(" ")
        start = rng.randrange(len(words))
        stop = rng.randint(start + 1, min(len(words), start + 3))
        mutant = " ".join(words[:start] + words[stop:])
        assert not slot_errors(parse_source(example.source), mutant).exact, mutant


def test_a_repeated_phrase_is_caught(sample):
    rng = random.Random(3)
    for example in sample[:1000]:
        words = example.target.split(" ")
        i = rng.randrange(len(words))
        mutant = " ".join(words[:i] + [words[i]] + words[i:])
        assert parse(mutant).problems, mutant


def test_a_misspelt_word_is_caught(sample):
    rng = random.Random(4)
    for example in sample[:1000]:
        i = rng.choice([i for i, char in enumerate(example.target) if char.isalpha()])
        other = rng.choice([char for char in "abcdefghijklmnopqrstuvwxyz" if char != example.target[i]])
        mutant = example.target[:i] + other + example.target[i + 1 :]
        assert parse(mutant).problems, mutant


def test_a_swapped_value_is_caught(sample):
    rng = random.Random(5)
    for example in sample[:1000]:
        mr = parse_source(example.source)
        slot = rng.choice(list(mr))
        asked = mr | {slot: rng.choice([value for value in SLOTS[slot] if value != mr[slot]])}
        errors = slot_errors(asked, example.target)
        assert errors == ([], {slot: (asked[slot], mr[slot])}, {}, [])
        assert not errors.exact


def test_slot_errors_by_kind():
    assert slot_errors(MR, SENTENCE).exact
    assert slot_errors(MR | {"family": "yes"}, SENTENCE).missing == ["family"]
    assert slot_errors(MR | {"area": "park"}, SENTENCE).wrong == {"area": ("park", "harbour")}
    del_food = {slot: value for slot, value in MR.items() if slot != "food"}
    assert slot_errors(del_food, SENTENCE).extra == {"food": "Thai"}
    assert slot_errors(MR, SENTENCE.replace("cheap", "cheep")) == (["price"], {}, {}, ["unknown: 'cheep'"])


@pytest.mark.parametrize(
    ("sentence", "problem"),
    [
        ("Blue Heron is a cheap Thai cafe by the harbour", "not the order of any plan"),
        ("Blue Heron is a cheap Thai cafe. It has low prices.", "price is stated again: 'has low prices'"),
        ("Blue Heron is a cheap Thai cafe by the harbour and has wifi.", "unknown: 'wifi'"),
        ("Blue Heron is an cheap Thai cafe by the harbour.", "capitals, spaces or articles"),
        ("blue heron is a cheap Thai cafe by the harbour.", "capitals, spaces or articles"),
        ("Blue Heron is  a cheap Thai cafe by the harbour.", "capitals, spaces or articles"),
        ("Blue Heron is a cafe cheap by the harbour.", "not the order of any plan"),
        ("", "not the order of any plan"),
    ],
)
def test_problems(sentence, problem):
    assert any(problem in found for found in parse(sentence).problems)


def test_splits_share_no_combination():
    splits = ("train", "valid", "test")
    keys = {split: {combination_key(mr) for mr in combinations_of(split)} for split in splits}
    assert not keys["train"] & keys["valid"] and not keys["train"] & keys["test"]
    assert not keys["valid"] & keys["test"]
    assert len(keys["train"]) > 10 * len(keys["test"]) > 5000
    assert {example.key for example in examples("test", 300)} <= keys["test"]


def test_the_key_ignores_the_name_and_the_order_of_slots():
    shuffled = dict(reversed((MR | {"name": "Nine Bells"}).items()))
    assert combination_key(shuffled) == combination_key(MR) != combination_key(MR | {"food": "Greek"})


def test_examples_are_deterministic_and_held_out_ones_differ():
    assert examples("train", 50, seed=7) == examples("train", 50, seed=7) != examples("train", 50, seed=8)
    assert len({example.source for example in examples("test", 2000)}) == 2000


def test_references():
    found = references(MR, 8, seed=1)
    assert found == references(MR, 8, seed=1)
    assert len(set(found)) == 8
    assert all(slot_errors(MR, sentence).exact for sentence in found)
    with pytest.raises(ValueError, match="n must be at most about"):
        references({"name": "Driftwood", "type": "cafe", "family": "no"}, 500)
    with pytest.raises(ValueError, match="n must be at least 1, not 0"):
        references(MR, 0)


@pytest.mark.parametrize(
    ("mr", "message"),
    [
        ({"name": "Blue Heron", "type": "cafe"}, "at least one of food, price, area, family, rating"),
        ({"type": "cafe", "food": "Thai"}, "mr must have name, type"),
        (MR | {"view": "sea"}, "the slots are name, type, food"),
        (MR | {"price": "free"}, "price must be one of low, medium, high"),
    ],
)
def test_bad_mrs(mr, message):
    for use in (source_text, lambda mr: realise(mr, random.Random(0))):
        with pytest.raises(ValueError, match=message):
            use(mr)


def test_other_errors():
    with pytest.raises(TypeError, match="mr must be a dict of slot to value, not str"):
        source_text("name: Blue Heron")
    with pytest.raises(ValueError, match="it has 'cafe'"):
        parse_source("name: Blue Heron; cafe")
    with pytest.raises(ValueError, match="gives 'name' twice"):
        parse_source("name: Blue Heron; name: Nine Bells")
    with pytest.raises(ValueError, match="split must be one of train, valid, test, not 'dev'"):
        examples("dev", 3)
    with pytest.raises(ValueError, match="n must be at least 1; it was 0"):
        examples("train", 0)
    with pytest.raises(ValueError, match=r"at most \d+, the number of mrs in test; it was 10000000"):
        examples("test", 10_000_000)
