"""Accuracies over labeled rows, and their confidence intervals."""

import math
from typing import NamedTuple

import numpy as np

from simclr_keras.errors import InputError

UNLABELED = -1


class Accuracy(NamedTuple):
    """Shares in [0, 1] of `total` labeled rows. With five classes or fewer, top5 is always 1.

    `balanced_accuracy` is the mean of the top-1 accuracies of the classes that have labeled rows.
    """

    top1: float
    top5: float
    total: int
    balanced_accuracy: float


def accuracy(scores: np.ndarray, labels: np.ndarray) -> Accuracy:
    """Return the `Accuracy` of `scores` [n, num_classes] for `labels` [n]; see `top_k_accuracy`."""
    hits, classes = _hits(scores, labels, 1)
    counts = np.bincount(classes)
    recalls = np.bincount(classes, weights=hits)[counts > 0] / counts[counts > 0]
    return Accuracy(
        float(np.mean(hits)), top_k_accuracy(scores, labels, 5), len(classes), float(np.mean(recalls))
    )


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Return the share of labeled rows whose class is among the k best scored.

    Ties count against the model: a row is right only if fewer than k other classes score at least as
    much as its own. Constant scores are therefore always wrong, and so is NaN.

    Args:
        scores: [n, num_classes], larger is better; any monotone scale.
        labels: integers [n] in [0, num_classes), or -1 for a row that is not counted.
        k: at least 1; capped by num_classes, at which every row is right.

    Returns:
        A float in [0, 1].

    Raises:
        InputError: shapes or labels do not fit, or no row is labeled.
    """
    return float(np.mean(_hits(scores, labels, k)[0]))


def _hits(scores, labels, k):
    """Return whether each labeled row is right, bool [m], and its class, int [m]."""
    if k < 1:
        raise InputError(f"k must be at least 1. Received: k={k}")
    scores, labels = labeled_rows(scores, labels, name="scores")
    num_classes = scores.shape[1]
    check_label_range(labels, num_classes)
    if not len(labels):
        raise InputError("accuracy needs at least one labeled row, all labels are -1 or there are none")
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    # Not (score < own) rather than (score >= own): it is true for NaN on either side.
    rank = np.count_nonzero(~(scores < own), axis=1) - 1
    return rank < min(k, num_classes), labels


def accuracy_interval(correct: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval (low, high) of an accuracy (Wilson 1927), in [0, 1].

    It covers the sampling of the evaluation images only, not the spread between training seeds.

    Args:
        correct: rows that were right, in [0, total].
        total: rows that were counted, at least 1.
    """
    if total < 1 or not 0 <= correct <= total:
        raise InputError(
            "accuracy_interval needs total >= 1 and 0 <= correct <= total. "
            f"Received: correct={correct}, total={total}"
        )
    z = 1.959963984540054
    share = correct / total
    spread = z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    low, high = ((share + z * z / (2 * total) + side) / (1 + z * z / total) for side in (-spread, spread))
    # The formula touches 0 and 1 exactly at the ends; only rounding could step over.
    return max(low, 0.0), min(high, 1.0)


def labeled_rows(
    features: np.ndarray, labels: np.ndarray, name: str = "features"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of `features` [n, d] and `labels` [n] whose label is not -1, after checks."""
    features, labels = np.asarray(features), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise InputError(
            f"{name} must be [n, d] and its labels [n]. "
            f"Received: {name} of shape {features.shape}, labels of shape {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"the labels of {name} must be integers. Received: dtype {labels.dtype}")
    keep = labels != UNLABELED
    return (features, labels) if keep.all() else (features[keep], labels[keep])


def check_label_range(labels: np.ndarray, num_classes: int) -> None:
    """Raise InputError unless every label of `labels` [n] is in [0, num_classes)."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise InputError(
            f"labels must be in [0, {num_classes}), or -1 for unlabeled. "
            f"Received: labels from {labels.min()} to {labels.max()}"
        )
