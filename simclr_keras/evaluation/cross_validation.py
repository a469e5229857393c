"""Cross-validated logistic regression: a prediction for every labeled image by a model that did not see it."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from simclr_keras.errors import InputError
from simclr_keras.evaluation.linear_probe import logistic_predict
from simclr_keras.evaluation.metrics import UNLABELED, check_label_range, labeled_rows


class CrossValidation(NamedTuple):
    """Predictions of n rows, each by a regression that was fitted without the row's fold.

    `scores` is float64 [n, num_classes], log-probabilities as in `ProbeScores`; `predicted` int64 [n] the best of
    them; `labels` int64 [n] are those that count: -1 for rows without a label, and for classes of a single group,
    which cannot be in both parts; `folds` int64 [n] is the fold of a row, -1 without a label. `accuracy`,
    `confusion` and `per_class` take `scores` or `predicted` with these `labels`.
    """

    scores: np.ndarray
    predicted: np.ndarray
    labels: np.ndarray
    folds: np.ndarray


def cross_validate(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    num_classes: int | None = None,
    folds: int = 5,
    c: float | None = None,
    balanced: bool = False,
    seed: int = 0,
) -> CrossValidation:
    """Return cross-validated predictions of logistic regression for every labeled row.

    Folds are stratified by class and keep the rows of a group together, such as `near_duplicate_groups`. A class that
    is in no other fold is never predicted in its own.

    >>> import numpy as np
    >>> features = np.array([[0.0], [0.1], [1.0], [1.1]])
    >>> cross_validate(features, np.array([0, 0, 1, 1]), folds=2).predicted
    array([0, 0, 1, 1])

    Args:
        features: finite floats [n, d].
        labels: integers [n] in [0, num_classes), or -1 for unlabeled.
        groups: integers [n]; None: every row is a group.
        num_classes: classes to score; by default the largest label plus 1.
        folds: at least 2; fewer if no class has so many groups.
        c: as in `logistic_predict`; None chooses it within the training rows of every fold.
        balanced: as in `logistic_predict`.
        seed: of the folds, at least 0.

    Returns:
        A `CrossValidation` (scores, predicted, labels, folds).

    Raises:
        InputError: shapes or labels do not fit, see `grouped_folds` too.
    """
    features, labels = np.asarray(features), np.asarray(labels)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    _, classes = labeled_rows(features, labels)
    num_classes = int(classes.max(initial=0)) + 1 if num_classes is None else num_classes
    check_label_range(classes, num_classes)
    fold_of = grouped_folds(labels, groups, folds, seed)
    scores = np.full((len(labels), num_classes), -np.inf)
    for fold in range(fold_of.max() + 1):
        fit, test = (fold_of >= 0) & (fold_of != fold), fold_of == fold
        scores[test] = logistic_predict(
            features[fit],
            labels[fit],
            features[test],
            num_classes=num_classes,
            c=c,
            balanced=balanced,
            groups=groups[fit],
        ).scores
    counted = is_in_several_groups(labels, groups)
    return CrossValidation(scores, scores.argmax(axis=1), np.where(counted, labels, UNLABELED), fold_of)


def is_in_several_groups(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return whether a row's class is in two groups or more, bool [n]; others are in no fold but their own.

    Args:
        labels: integers [n], -1 for unlabeled, which gives False. groups: integers [n].
    """
    return np.isin(labels, np.flatnonzero(_groups_of_class(labels, groups) > 1))


def grouped_folds(labels: np.ndarray, groups: np.ndarray, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Return the fold of every row, stratified by class; the labeled rows of a group are in one fold.

    >>> import numpy as np
    >>> grouped_folds(np.array([0, 0, 1, 1, -1]), np.array([0, 1, 2, 3, 4]), folds=2)
    array([ 1,  0,  0,  1, -1])

    Args:
        labels: integers [n], -1 for unlabeled. groups: integers [n].
        folds: at least 2; fewer if no class has so many groups. seed: at least 0.

    Returns:
        int64 [n], from 0; -1 for unlabeled rows.

    Raises:
        InputError: shapes do not fit, or fewer than two classes have labeled rows in two groups.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    if groups.shape != labels.shape or folds < 2:
        raise InputError(
            f"cross-validation needs a group per row and at least 2 folds. Received: groups of shape {groups.shape}, "
            f"{len(labels)} rows, folds={folds}"
        )
    rows, groups_of_class = np.flatnonzero(labels != UNLABELED), _groups_of_class(labels, groups)
    if np.count_nonzero(groups_of_class > 1) < 2:
        raise InputError(
            "cross-validation needs at least two classes with labeled images of two groups (images that are no near "
            f"duplicates of each other): label more images. Received: {len(rows)} labeled rows in "
            f"{len(np.unique(groups[rows]))} groups, of {len(np.unique(labels[rows]))} classes"
        )
    splitter = StratifiedGroupKFold(min(folds, groups_of_class.max()), shuffle=True, random_state=seed)
    fold_of = np.full(len(labels), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer rows than folds
        for number, (_, test) in enumerate(splitter.split(rows, labels[rows], groups[rows])):
            fold_of[rows[test]] = number
    return fold_of


def _groups_of_class(labels, groups):
    """Return the number of groups that contain each class, int [largest label + 1]."""
    pairs = np.unique([labels, groups], axis=1)
    return np.bincount(pairs[0][pairs[0] != UNLABELED])
