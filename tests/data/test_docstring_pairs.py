import random
from collections import Counter

import pytest

from minilora.data import docstring_matches, load_pairs
from minilora.data.docstring_pairs import exchanged, functions_by_file
from minilora.data.pairs import Pair

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def splits():
    return docstring_matches()


@pytest.fixture(scope="module")
def everything(splits):
    return [example for split in SPLITS for example in splits[split]]


def test_half_are_true_and_half_are_not(splits):
    for split in SPLITS:
        counts = Counter(e.label for e in splits[split])
        assert counts.keys() == {"yes", "no"} and counts["yes"] == counts["no"] > 200


def test_labels_are_true(everything):
    true = {(pair.signature, pair.summary) for pair in load_pairs()}
    assert all(((e.text, e.second) in true) == (e.label == "yes") for e in everything)


def test_each_signature_and_each_docstring_comes_once_with_either_label(everything):
    """So neither alone, by whatever it says, tells the label."""
    for text_of in (lambda e: (e.key, e.text), lambda e: e.second):
        true, false = (Counter(map(text_of, (e for e in everything if e.label == label))) for label in ("yes", "no"))
        assert true == false and set(true.values()) == {1}


def test_the_other_docstring_is_of_about_the_same_length(everything):
    own = {(e.key, e.text): e.second for e in everything if e.label == "yes"}
    differences = [abs(len(e.second) - len(own[e.key, e.text])) for e in everything if e.label == "no"]
    assert sorted(differences)[len(differences) // 2] <= 4
    assert sum(difference <= 20 for difference in differences) > 0.9 * len(differences)


def test_no_file_and_no_docstring_is_in_two_splits(splits):
    for text_of in (lambda e: e.key, lambda e: e.second):
        of_split = [set(map(text_of, splits[split])) for split in SPLITS]
        assert not of_split[0] & of_split[1] and not of_split[0] & of_split[2] and not of_split[1] & of_split[2]


def test_the_pairs_follow_the_seed(splits):
    assert docstring_matches(seed=0) == splits
    other = docstring_matches(seed=1)
    true, false = ([e for e in other["test"] if e.label == label] for label in ("yes", "no"))
    before = [e for e in splits["test"] if e.label == "no"]
    assert set(true) == {e for e in splits["test"] if e.label == "yes"}
    assert 0.4 < sum(e not in before for e in false) / len(false) < 0.9


def test_a_pair_does_not_change_when_other_files_do(everything, monkeypatch):
    two = ("textwrap.py", "heapq.py")
    some = tuple(pair for pair in load_pairs() if pair.key in two)
    monkeypatch.setattr("minilora.data.docstring_pairs.load_pairs", lambda: some)
    fewer = docstring_matches()
    assert {e for split in SPLITS for e in fewer[split]} == {e for e in everything if e.key in two}


def test_names_are_taken_once_a_file_and_docstrings_only_where_they_stand_nowhere_else(monkeypatch):
    pairs = (
        Pair("def close(self)", "Close the file.", "a.py"),
        Pair("async def close(self)", "Close the socket.", "a.py"),
        Pair("def read(self)", "Read a line.", "a.py"),
        Pair("def open(self)", "Open the file.", "a.py"),
        Pair("def readline(self)", "read a line", "b.py"),
        Pair("def close(self)", "Close the pipe.", "b.py"),
    )
    monkeypatch.setattr("minilora.data.docstring_pairs.load_pairs", lambda: pairs)
    assert functions_by_file() == {"a.py": [pairs[0], pairs[3]]}


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, 31])
def test_each_function_gives_its_docstring_to_another_one(n):
    pairs = [Pair(f"def f{i}()", "x" * i, "a.py") for i in range(n)]
    found = exchanged(pairs, random.Random(0))
    assert sorted(p.signature for p, _ in found) == sorted(p.signature for p in pairs)
    assert Counter(p for p, _ in found) == Counter(other for _, other in found)
    assert all(pair is not other and abs(len(pair.summary) - len(other.summary)) < 8 for pair, other in found)
