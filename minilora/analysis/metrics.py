"""How good a classifier is: accuracy, and macro-F1, which counts a rare class as much as a frequent one."""

from collections.abc import Sequence

import numpy

from minilora.arrays.backend import Array


def accuracy(labels: Sequence[int] | Array, predictions: Sequence[int] | Array) -> float:
    """The fraction of the predictions that are right.

    Parameters
    ----------
    labels, predictions : integer array_like of shape (n,)
        At least one each.

    Returns
    -------
    float, from 0 to 1
    """
    labels, predictions = _checked(labels, predictions)
    return float((labels == predictions).mean())


def macro_f1(labels: Sequence[int] | Array, predictions: Sequence[int] | Array) -> float:
    """The mean F1 over the classes that occur among the labels.

    F1 = 2 TP / (2 TP + FP + FN), the harmonic mean of precision TP / (TP + FP) and recall TP / (TP + FN). Which classes
    are in the mean depends on the labels alone, so that all methods are compared on the same ones; it is scikit-learn's
    ``f1_score(labels, predictions, labels=unique(labels), average="macro")``.

    Parameters
    ----------
    labels, predictions : integer array_like of shape (n,)
        At least one each.

    Returns
    -------
    float, from 0 to 1
    """
    labels, predictions = _checked(labels, predictions)
    scores = []
    for c in numpy.unique(labels):
        true_positives = numpy.sum((labels == c) & (predictions == c))
        # 2 TP + FP + FN = (TP + FP) + (TP + FN): how often c was predicted, and how often it was the label
        scores.append(2 * true_positives / (numpy.sum(predictions == c) + numpy.sum(labels == c)))
    return float(numpy.mean(scores))


def classification_scores(labels: Sequence[int] | Array, predictions: Sequence[int] | Array) -> dict[str, float]:
    """A dict of accuracy and macro_f1, for JSON."""
    return {"accuracy": accuracy(labels, predictions), "macro_f1": macro_f1(labels, predictions)}


def _checked(labels: Sequence[int] | Array, predictions: Sequence[int] | Array) -> tuple[numpy.ndarray, numpy.ndarray]:
    labels, predictions = numpy.asarray(labels), numpy.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape or labels.size == 0:
        raise ValueError(
            f"labels had shape {labels.shape} and predictions {predictions.shape}; both must be (n,), with n at least 1"
        )
    return labels, predictions
