"""Accuracy and macro-F1 against values worked out by hand, and against a loop."""

import numpy as np
import pytest

from minilora.analysis import accuracy, macro_f1


def test_accuracy_is_the_part_that_is_right():
    assert accuracy([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75
    assert accuracy([3, 3], [3, 3]) == 1.0 and accuracy([3, 3], [0, 1]) == 0.0


def test_macro_f1_by_hand():
    """Class 0: precision 2/3, recall 1. Class 1: precision 1/2, recall 1/3. Class 2: both 0."""
    labels, predictions = [0, 0, 1, 1, 1, 2], [0, 0, 1, 0, 2, 1]
    # class 0: TP 2, FP 1, FN 0;   class 1: TP 1, FP 1, FN 2;   class 2: TP 0, FP 1, FN 1
    assert macro_f1(labels, predictions) == pytest.approx((4 / 5 + 2 / 5 + 0) / 3)


def test_a_class_that_is_only_predicted_is_not_in_the_mean_but_its_errors_are():
    assert macro_f1([0, 0, 0, 0], [0, 0, 0, 5]) == pytest.approx(6 / 7)


def test_the_majority_answer_has_a_good_accuracy_and_a_bad_macro_f1():
    labels = [0] * 98 + [1, 2]
    assert accuracy(labels, [0] * 100) == 0.98
    assert macro_f1(labels, [0] * 100) == pytest.approx((2 * 98 / (100 + 98)) / 3)


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_against_precision_and_recall_in_a_loop(seed):
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, 6, 40).tolist(), rng.integers(0, 8, 40).tolist()
    scores = []
    for c in sorted(set(labels)):
        right = sum(y == c == p for y, p in zip(labels, predictions))
        precision = right / max(predictions.count(c), 1)
        recall = right / labels.count(c)
        scores.append(2 * precision * recall / (precision + recall) if right else 0.0)
    assert macro_f1(labels, predictions) == pytest.approx(sum(scores) / len(scores))


def test_the_names_of_the_classes_do_not_matter():
    rng = np.random.default_rng(0)
    labels, predictions, other = rng.integers(0, 4, 30), rng.integers(0, 4, 30), np.array([17, 3, 8, 0])
    assert macro_f1(labels, predictions) == pytest.approx(macro_f1(other[labels], other[predictions]))


@pytest.mark.parametrize("metric", [accuracy, macro_f1])
@pytest.mark.parametrize(("labels", "predictions"), [([], []), ([1, 2], [1]), ([[1]], [[1]])])
def test_other_shapes_are_refused(metric, labels, predictions):
    with pytest.raises(ValueError, match=r"both must be \(n,\), with n at least 1"):
        metric(labels, predictions)
