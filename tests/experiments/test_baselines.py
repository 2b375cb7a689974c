"""Majority class, naive Bayes against a loop, word overlap: on tasks whose answers are known."""

import math
from collections import Counter

import numpy as np
import pytest

from minilora.data import ClassificationTask, LabelledExample, docstring_matches
from minilora.experiments.baselines import (
    NaiveBayes,
    baselines,
    byte_ngram_counts,
    majority,
    naive_bayes,
    overlap,
    word_counts,
    word_overlap,
    words,
)


def task(train, test, label_names=("a", "b")):
    splits = {"train": train, "valid": train, "test": test}
    return ClassificationTask("task", splits, label_names, 64)


def example(text, label="a", second=None):
    return LabelledExample(text, label, text, second)


def naive_bayes_in_a_loop(features, labels, n_classes, asked):
    """The class of one example, by the formula."""
    vocabulary = {f for counts in features for f in counts}
    best = []
    for c in range(n_classes):
        of_class = [counts for counts, label in zip(features, labels) if label == c]
        total = sum(sum(counts.values()) for counts in of_class) + len(vocabulary)
        score = math.log(len(of_class) / len(features))
        for f, n in asked.items():
            if f in vocabulary:
                score += n * math.log((1 + sum(counts[f] for counts in of_class)) / total)
        best.append(score)
    return best.index(max(best))


@pytest.mark.parametrize("seed", range(4))
def test_naive_bayes_is_the_formula(seed):
    rng = np.random.default_rng(seed)
    features = [Counter(rng.integers(0, 9, rng.integers(1, 8)).tolist()) for _ in range(30)]
    labels = np.append([0, 1, 2], rng.integers(0, 3, 27))
    asked = [Counter(rng.integers(0, 11, 4).tolist()) for _ in range(40)]
    predicted = NaiveBayes(features, labels, 3).predict(asked).tolist()
    assert predicted == [naive_bayes_in_a_loop(features, labels.tolist(), 3, counts) for counts in asked]
    assert len(set(predicted)) > 1


def test_naive_bayes_falls_back_on_how_frequent_the_classes_are():
    model = NaiveBayes([Counter("x"), Counter("x"), Counter("y")], np.array([2, 2, 0]), 4)
    assert model.predict([Counter(), Counter("new"), Counter("y")]).tolist() == [2, 2, 0]


def test_majority_is_the_most_frequent_class_of_train():
    train = [example("1", "b"), example("2", "b"), example("3", "a")]
    assert majority(task(train, [example("4", "a"), example("5", "a")])).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def get_fullName2(self, HTTPServer)", ["def", "get", "full", "name", "2", "self", "http", "server"]),
        ("LATIN SMALL LETTER A", ["latin", "small", "letter", "a"]),
        ("Return the parser's ID.", ["return", "the", "parser", "s", "id"]),
        ("...", []),
    ],
)
def test_words_of_texts_and_identifiers(text, expected):
    assert words(text) == expected


def test_features_tell_the_two_texts_apart():
    assert word_counts(example("a b a", second="b")) == {(0, "a"): 2, (0, "b"): 1, (1, "b"): 1}
    counts = byte_ngram_counts(example("aa"))
    # " aa " has 4 + 3 + 2 + 1 runs, and the second text's place, two spaces, 2 + 1
    assert counts[0, b"a"] == 2 and counts[0, b"aa"] == 1 and counts[0, b" aa "] == 1
    assert sum(n for (i, _), n in counts.items() if i == 0) == 10


def test_naive_bayes_learns_words():
    train = [example("red apple", "a"), example("red pear", "a"), example("blue apple", "b"), example("blue sky", "b")]
    made = task(train, [example("red sky", "a"), example("blue pear", "b"), example("blue sea", "b")])
    assert naive_bayes(made, word_counts).tolist() == [0, 1, 1]


def test_overlap_is_the_part_of_the_words_that_both_have():
    assert overlap(example("def read_line(self)", second="Read a line.")) == pytest.approx(2 / 5)
    assert overlap(example("a b", second="B A")) == 1.0
    assert overlap(example("?", second="!")) == 0.0


def test_the_threshold_of_word_overlap_is_chosen_on_train():
    train = [
        example("a b c", "b", second="a b c"),  # 1
        example("a b c", "b", second="a b x"),  # 1/2
        example("a b c", "a", second="a x y"),  # 1/5
        example("a b c", "a", second="x y z"),  # 0
    ]
    test = [example("a b", "b", second="a b"), example("a b", "b", second="a x"), example("a b c", "a", second="a b y")]
    assert word_overlap(task(train, test)).tolist() == [1, 0, 1]


def test_word_overlap_may_say_no_to_all():
    train = [example("a", "a", second="a"), example("b", "a", second="c")]
    assert word_overlap(task(train, [example("a", "b", second="a")])).tolist() == [0]


def test_of_docstrings_and_signatures_only_what_compares_the_two_knows_anything():
    """Each text comes once with either label, so the counts of both classes are the same."""
    made = ClassificationTask("docstring-pairs", docstring_matches(), ("no", "yes"), 256)
    scores = baselines(made)
    for name in ("majority class", "naive Bayes, words", "naive Bayes, bytes"):
        assert scores[name] == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    assert 0.7 < scores["word overlap"]["accuracy"] < 0.85


def test_word_overlap_is_only_for_pairs_and_two_classes():
    single = [example("red", "a"), example("blue", "b")]
    assert "word overlap" not in baselines(task(single, single))
    pairs = [example("red", "a", second="red"), example("blue", "b", second="red"), example("no", "c", second="x")]
    assert "word overlap" not in baselines(task(pairs, pairs, ("a", "b", "c")))


def test_baselines_of_another_split_learn_from_train_too():
    train = [example("red", "a", second="red"), example("blue", "b", second="sea"), example("green", "b", second="x")]
    valid = [example("red", "a", second="red"), example("blue", "b", second="sky")]
    test = [example("red", "b", second="red"), example("blue", "a", second="sky")]
    made = ClassificationTask("task", {"train": train, "valid": valid, "test": test}, ("b", "a"), 64)
    right, wrong = baselines(made, "valid"), baselines(made)
    assert right == baselines(made, split="valid") and right.keys() == wrong.keys() == {
        "majority class",
        "naive Bayes, words",
        "naive Bayes, bytes",
        "word overlap",
    }
    for name in ("naive Bayes, words", "naive Bayes, bytes", "word overlap"):
        assert (right[name]["accuracy"], wrong[name]["accuracy"]) == (1.0, 0.0)
    assert right["majority class"]["accuracy"] == wrong["majority class"]["accuracy"] == 0.5
