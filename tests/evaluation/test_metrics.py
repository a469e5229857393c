"""Accuracies: ties, unlabeled rows, intervals."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import Accuracy, accuracy, accuracy_interval, top_k_accuracy


def slow_top_k(scores, labels, k):
    """Twin: sorts every row, the label's own class last among equals."""
    hits = []
    for row, label in zip(scores, labels):
        if label != -1:
            order = sorted(range(len(row)), key=lambda c: (-row[c], c == label))
            hits.append(label in order[:k])
    return sum(hits) / len(hits)


@pytest.mark.parametrize("k", [1, 2, 5, 9, 50])
@pytest.mark.parametrize("levels", [3, 10**6])
def test_top_k_agrees_with_sorting_with_many_ties_and_with_none(k, levels):
    rng = np.random.default_rng(k)
    scores = rng.integers(0, levels, (200, 9)) / levels
    labels = rng.integers(-1, 9, 200)
    assert top_k_accuracy(scores, labels, k) == pytest.approx(slow_top_k(scores, labels, k), abs=1e-12)


def test_constant_scores_earn_nothing_whatever_the_label():
    for label in range(3):
        assert top_k_accuracy(np.ones((4, 3)), np.full(4, label), 1) == 0.0
        assert top_k_accuracy(np.ones((4, 3)), np.full(4, label), 2) == 0.0


def test_k_is_capped_by_the_classes_and_then_every_row_is_right():
    assert top_k_accuracy(np.ones((4, 3)), np.array([0, 1, 2, 0]), 5) == 1.0


def test_nan_scores_are_never_a_hit():
    scores = np.array([[np.nan, 0.0, 0.1], [0.9, np.nan, 0.1], [np.nan] * 3, [0.9, 0.0, 0.1]])
    assert top_k_accuracy(scores, np.zeros(4, int), 1) == 0.25


def test_rows_without_a_label_are_not_counted():
    scores = np.eye(4)
    assert accuracy(scores, np.array([0, 0, -1, -1])) == Accuracy(
        top1=0.5, top5=1.0, total=2, balanced_accuracy=0.5
    )


def test_balanced_accuracy_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((300, 6)), rng.choice([-1, 0, 1, 2, 4], 300, p=[0.1, 0.6, 0.2, 0.08, 0.02])
    labeled = labels >= 0
    expected = balanced_accuracy_score(labels[labeled], scores[labeled].argmax(axis=1))
    assert accuracy(scores, labels).balanced_accuracy == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "labels", "k", "said"),
    [
        (np.ones((2, 3)), [-1, -1], 1, "at least one labeled row"),
        (np.ones((2, 3)), [0, 3], 1, r"in \[0, 3\).*from 0 to 3"),
        (np.ones((2, 3)), [0, -2], 1, "from -2 to 0"),
        (np.ones((2, 3)), [0, 1, 2], 1, r"labels of shape \(3,\)"),
        (np.ones(3), [0, 1, 2], 1, r"scores of shape \(3,\)"),
        (np.ones((2, 3)), [0.0, 1.0], 1, "integers"),
        (np.ones((2, 3)), [0, 1], 0, "k must be at least 1"),
    ],
)
def test_wrong_input_is_named_in_one_line(scores, labels, k, said):
    with pytest.raises(InputError, match=said) as error:
        top_k_accuracy(scores, np.array(labels), k)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # The roots of (p - s)^2 = z^2 p (1 - p) / n, and the closed forms at the ends.
    [(0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (8, 10, 0.4901625, 0.9433178)],
)
def test_wilson_interval_of_known_counts(correct, total, low, high):
    assert accuracy_interval(correct, total) == pytest.approx((low, high), abs=1e-6)


def test_wilson_interval_solves_its_defining_equation():
    z = 1.959963984540054
    for correct, total in [(1, 3), (50, 100), (6480, 10_000)]:
        for p in accuracy_interval(correct, total):
            assert (p - correct / total) ** 2 == pytest.approx(z * z * p * (1 - p) / total, rel=1e-9)


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (-1, 3), (4, 3)])
def test_an_interval_of_impossible_counts_is_refused(correct, total):
    with pytest.raises(InputError, match=f"correct={correct}, total={total}"):
        accuracy_interval(correct, total)
