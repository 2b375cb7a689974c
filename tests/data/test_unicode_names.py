import unicodedata
from collections import Counter

import pytest

from minilora.data import CATEGORIES, character_names, corpus_id, names_by_first_word, names_by_hash
from minilora.data.unicode_names import LARGEST_GROUP

SPLITS = ("train", "valid", "test")
BOTH = pytest.mark.parametrize("make_splits", [names_by_hash, names_by_first_word])


def test_the_rows_are_the_same_in_every_python():
    """Their number, and a digest, found with Python 3.6 to 3.13."""
    names = character_names()
    assert len(names) == 12_886 == len(dict(names))
    assert corpus_id(f"{name}\t{category}" for name, category in names) == "d69745656cfa"


def test_names_and_categories_are_those_of_unicode():
    categories = dict(character_names())
    assert categories["LATIN SMALL LETTER A"] == "Ll"
    assert categories["ROMAN NUMERAL FIVE"] == "Nl"
    assert all(unicodedata.ucd_3_2_0.category(unicodedata.lookup(name)) == categories[name] for name in categories)


def test_categories_are_left_out_that_have_fewer_than_50_names():
    counts = Counter(category for _, category in character_names())
    assert set(CATEGORIES) == {category for category in counts if counts[category] >= 50}
    assert len(counts) == 26 and len(CATEGORIES) == 15
    assert sum(counts[category] for category in counts if category not in CATEGORIES) == 182


@BOTH
def test_each_name_is_in_one_split(make_splits):
    names = [(e.text, e.label) for split in SPLITS for e in make_splits()[split]]
    assert len(names) == 12_704
    assert set(names) == {(name.lower(), category) for name, category in character_names() if category in CATEGORIES}


@BOTH
def test_no_key_is_in_two_splits(make_splits):
    keys = [{e.key for e in make_splits()[split]} for split in SPLITS]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]


def test_sizes_never_move():
    assert [len(names_by_hash()[split]) for split in SPLITS] == [10_069, 1_311, 1_324]
    assert [len(names_by_first_word()[split]) for split in SPLITS] == [10_177, 1_393, 1_134]


def test_the_key_is_the_name_or_its_first_word():
    assert all(e.key == e.text.upper() for e in names_by_hash()["test"])
    assert all(e.key == e.text.split()[0].upper() for e in names_by_first_word()["test"])


@BOTH
def test_names_are_in_lower_case_as_the_encoder_reads(make_splits):
    assert all(e.text == e.text.lower() for split in SPLITS for e in make_splits()[split])


def test_words_that_begin_very_many_names_are_in_train():
    splits = names_by_first_word()
    sizes = Counter(e.key for split in SPLITS for e in splits[split])
    large = {word for word, size in sizes.items() if size > LARGEST_GROUP}
    assert large == {"YI", "MATHEMATICAL", "ARABIC", "LATIN", "CANADIAN", "ETHIOPIC", "HANGUL", "GREEK"}
    assert large <= {e.key for e in splits["train"]}


@BOTH
def test_every_category_can_be_learned_and_is_measured(make_splits):
    for split in ("train", "test"):
        assert {e.label for e in make_splits()[split]} == set(CATEGORIES)
