"""What of mini-E2E a text holds is found, wherever it stands; ordinary English is left alone."""

import pytest

from minilora.data import SLOTS, examples
from minilora.data.mini_e2e_material import mini_e2e_material, table_texts, table_words


def test_every_source_and_every_sentence_is_found():
    for example in examples("train", 400, seed=3) + examples("test", 100, seed=3):
        assert mini_e2e_material(example.source), example.source
        assert mini_e2e_material(example.target), example.target


def test_every_name_and_every_phrase_of_several_words_is_found():
    for text in [*SLOTS["name"], *(text for text in table_texts() if " " in text or "-" in text)]:
        assert mini_e2e_material(f"We read of {text.upper()}, once.") == text.upper()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("They call it a low cost plan.", "low cost"),  # low-cost, with another sign
        ("The plan, child friendly as it is.", "child friendly"),
        ("size: 3; price: low; kind: b", "price: low"),
        ("name: Anything; type", "name: Anything; type"),
        ("He slept in a small quiet tavern of the town.", "a small quiet tavern"),
        ("There is a function called main.", "There is a function called"),
    ],
)
def test_pairs_and_shapes_are_found(text, found):
    assert mini_e2e_material(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "The park opens at nine, and the market is cheap.".replace("is cheap", "closes at ten"),
        "Cheap, inexpensive: relatively low in price or charging low prices.",
        "Greek and Thai have alphabets of their own; each name is of another type.",
        "There is a function that returns the average.",
        "A house of copper. Pots are blue; the heron is grey.",
    ],
)
def test_ordinary_english_is_left_alone(text):
    assert mini_e2e_material(text) is None


def test_the_words_that_generators_may_not_draw():
    words = table_words()
    assert {"heron", "harbour", "food", "cheap", "superb", "family", "serves", "tea", "room"} <= words
    assert words.isdisjoint({"is", "a", "the", "and", "of", "it"})
    assert all(word.isascii() and word.islower() for word in words)
