"""Baselines that need no network, for every score to be compared with: majority class, naive Bayes, word overlap.

A network that does no better than these has not understood the text, or the task does not require it.
"""

import re
from collections import Counter

import numpy

from minilora.analysis import accuracy, classification_scores

WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")  # "getFullName_2" has get, Full, Name, 2
LONGEST_NGRAM = 4  # bytes


class NaiveBayes:
    """Multinomial naive Bayes: the class c with the largest log p(c) + sum over features f of n_f log p(f | c).

    p(f | c) = (1 + n_cf) / sum over f' of (1 + n_cf'), where n_cf counts f in all examples of class c (Laplace).

    Parameters
    ----------
    features : list of Counter
        How often each feature is in each training example.
    labels : ndarray of shape (n,)
    n_classes : int
    """

    def __init__(self, features, labels, n_classes):
        self.index = {f: i for i, f in enumerate(dict.fromkeys(f for counts in features for f in counts))}
        n = numpy.ones((n_classes, len(self.index)))
        for counts, label in zip(features, labels, strict=True):
            n[label, [self.index[f] for f in counts]] += list(counts.values())
        self.log_likelihood = numpy.log(n / n.sum(axis=1, keepdims=True))  # (n_classes, n_features)
        with numpy.errstate(divide="ignore"):  # a class without examples is never predicted
            self.log_prior = numpy.log(numpy.bincount(labels, minlength=n_classes) / len(labels))

    def predict(self, features):
        """The class of each example, (n,); features that training never saw are ignored."""
        scores = numpy.tile(self.log_prior, (len(features), 1))  # (n, n_classes)
        for score, counts in zip(scores, features, strict=True):
            known = [f for f in counts if f in self.index]
            score += self.log_likelihood[:, [self.index[f] for f in known]] @ [counts[f] for f in known]
        return scores.argmax(axis=1)


def words(text):
    """The words of a text or an identifier, in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def word_counts(example):
    """How often each word occurs in an example's first text and in its second."""
    first = Counter((0, word) for word in words(example.text))
    return first + Counter((1, word) for word in words(example.second or ""))


def byte_ngram_counts(example):
    """How often each run of 1 to LONGEST_NGRAM bytes occurs in an example's first text and in its second."""
    counts = Counter()
    for i, text in enumerate((example.text, example.second or "")):
        data = f" {text} ".encode()
        counts.update((i, data[j : j + n]) for n in range(1, LONGEST_NGRAM + 1) for j in range(len(data) - n + 1))
    return counts


def majority(task, split="test"):
    """The most frequent class of train, for every example of a split."""
    return numpy.full(len(task.labels[split]), numpy.bincount(task.labels["train"]).argmax())


def naive_bayes(task, count, split="test"):
    """The classes that naive Bayes predicts for a split, from the features that ``count(example)`` counts."""
    train, asked = ([count(example) for example in task.splits[name]] for name in ("train", split))
    return NaiveBayes(train, task.labels["train"], len(task.label_names)).predict(asked)


def overlap(example):
    """Jaccard index of the words of the two texts: how many they share, out of all."""
    first, second = set(words(example.text)), set(words(example.second))
    return len(first & second) / max(len(first | second), 1)


def word_overlap(task, split="test"):
    """Class 1 for each pair whose overlap reaches a threshold, the one with the best accuracy on train."""
    train, asked = (numpy.array([overlap(e) for e in task.splits[name]]) for name in ("train", split))
    thresholds = numpy.append(numpy.unique(train), numpy.inf)
    best = max(thresholds, key=lambda threshold: accuracy(task.labels["train"], train >= threshold))
    return (asked >= best).astype(numpy.int64)


def baselines(task, split="test"):
    """The scores of all baselines, which learn from train.

    Parameters
    ----------
    task : ClassificationTask
    split : str
        What they are measured on.

    Returns
    -------
    dict of str to dict
        By the baseline's name: accuracy and macro_f1. Word overlap is for two classes of pairs of texts.
    """
    predictions = {
        "majority class": majority(task, split),
        "naive Bayes, words": naive_bayes(task, word_counts, split),
        "naive Bayes, bytes": naive_bayes(task, byte_ngram_counts, split),
    }
    if len(task.label_names) == 2 and all(example.second for examples in task.splits.values() for example in examples):
        predictions["word overlap"] = word_overlap(task, split)
    return {name: classification_scores(task.labels[split], p) for name, p in predictions.items()}
