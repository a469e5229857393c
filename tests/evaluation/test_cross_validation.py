"""Cross-validated logistic regression beside one fit per fold, and what it refuses."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from simclr_keras.errors import InputError
from simclr_keras.evaluation.cross_validation import cross_validate, grouped_folds
from simclr_keras.evaluation.linear_probe import logistic_predict
from simclr_keras.evaluation.metrics import accuracy


def bursts(classes=3, groups=6, rows=3, dim=30, seed=0):
    """Return features, labels and groups: the rows of a group are nearly alike, groups of a class are not."""
    rng = np.random.default_rng(seed)
    labels, number = np.repeat(np.arange(classes), groups), np.arange(classes * groups)
    centers = np.eye(classes, dim)[labels] + rng.normal(size=(len(labels), dim))
    features = np.repeat(centers, rows, axis=0) + 0.01 * rng.normal(size=(len(labels) * rows, dim))
    order = rng.permutation(len(features))
    return features[order], np.repeat(labels, rows)[order], np.repeat(number, rows)[order]


def slow_cross_validation(features, labels, folds, c):
    """Twin: scikit-learn's regression on the rows of the other folds, for each fold."""
    scores = np.full((len(labels), labels.max() + 1), -np.inf)
    for fold in set(folds[labels >= 0]):
        train, test = (labels >= 0) & (folds != fold), folds == fold
        scaler = StandardScaler().fit(features[train])
        regression = LogisticRegression(C=c, max_iter=200).fit(
            scaler.transform(features[train]), labels[train]
        )
        scores[np.ix_(test, regression.classes_)] = regression.predict_log_proba(
            scaler.transform(features[test])
        )
    return scores


def test_every_labeled_row_is_predicted_by_the_rows_of_other_folds():
    features, labels, groups = bursts()
    labels[::7] = -1
    result = cross_validate(features, labels, groups, c=0.1)
    for group in set(groups[labels >= 0]):
        assert len(set(result.folds[(groups == group) & (labels >= 0)])) == 1
    assert [np.isin(range(3), labels[result.folds == fold]).all() for fold in range(5)] == [True] * 5
    np.testing.assert_array_equal(result.folds == -1, labels == -1)
    np.testing.assert_array_equal(result.folds, grouped_folds(labels, groups))
    np.testing.assert_array_equal(result.labels, labels)
    expected = slow_cross_validation(features, labels, result.folds, 0.1)
    np.testing.assert_allclose(result.scores, expected, atol=1e-3)
    np.testing.assert_array_equal(result.predicted[labels >= 0], expected.argmax(axis=1)[labels >= 0])


def test_groups_keep_the_accuracy_honest():
    features, labels, groups = bursts()
    alone, together = (cross_validate(features, labels, g, c=1.0) for g in (None, groups))
    assert accuracy(alone.scores, labels).top1 > 0.95
    assert accuracy(together.scores, labels).top1 < 0.8


@pytest.mark.slow
def test_c_is_chosen_within_the_training_folds_and_by_groups():
    features, labels, groups = bursts()
    result = cross_validate(features, labels, groups)
    train, test = result.folds != 0, result.folds == 0
    grouped, single = (
        logistic_predict(features[train], labels[train], features[test], c=None, groups=g)
        for g in (groups[train], None)
    )
    np.testing.assert_array_equal(result.scores[test], grouped.scores)
    assert grouped.c < single.c  # copies in both parts reward a fit that is too close


def test_classes_of_one_group_do_not_count():
    features, labels, groups = bursts(classes=4)
    labels[(labels == 3) & (groups != groups[labels == 3][0])] = -1
    labels[(labels == 2) & (groups > groups[labels == 2].min() + 1)] = -1  # two groups, fewer than folds
    result = cross_validate(features, labels, groups, c=1.0, num_classes=6)
    assert set(result.labels) == {-1, 0, 1, 2}
    assert (result.folds[labels == 3] >= 0).all()
    assert result.scores.shape == (len(labels), 6)
    assert accuracy(result.scores, result.labels).total == np.count_nonzero((labels >= 0) & (labels != 3))


@pytest.mark.parametrize(
    ("labels", "groups", "words"),
    [
        ([1, 1, 1, 1, -1], None, "4 labeled rows in 4 groups, of 1 classes"),
        ([0, 0, 1, 1, 1], [0, 0, 1, 1, 1], "5 labeled rows in 2 groups, of 2 classes"),
        ([0, 1, 2, 3, 4], None, "label more images"),
        ([-1] * 5, None, "0 labeled rows"),
        ([0, 0, 1, 1, 1], [0, 1, 2], "a group per row"),
    ],
)
def test_too_little_to_compare_is_refused(labels, groups, words):
    with pytest.raises(InputError, match=words):
        cross_validate(np.eye(5), np.array(labels), groups)
