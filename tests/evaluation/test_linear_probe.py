"""The quick linear evaluation."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from simclr_keras.errors import InputError
from simclr_keras.evaluation.linear_probe import logistic_predict, logistic_probe


def blobs(n, classes=4, dim=6, seed=0, noise=0.6):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).standard_normal((classes, dim))
    labels = rng.integers(0, classes, n)
    return centers[labels] + noise * rng.standard_normal((n, dim)), labels


def slow_probe(train, labels, held, classes, c):
    """Twin: minimizes c * sum of cross-entropies + |w|^2 / 2 over standardised features by BFGS."""
    mean, deviation = train.mean(0), train.std(0)
    x, new = (train - mean) / deviation, (held - mean) / deviation
    dim = x.shape[1]

    def loss(flat):
        w, b = flat[: dim * classes].reshape(dim, classes), flat[dim * classes :]
        logits = x @ w + b
        top = logits.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        return c * np.sum(log_sum - logits[np.arange(len(x)), labels]) + 0.5 * np.sum(w**2)

    flat = minimize(loss, np.zeros((dim + 1) * classes), method="BFGS", options={"gtol": 1e-4}).x
    return new @ flat[: dim * classes].reshape(dim, classes) + flat[dim * classes :]


@pytest.mark.parametrize("c", [0.003, 1.0])
def test_probe_equals_the_slow_twin(c):
    (train, labels), (held, truth) = blobs(80, seed=1, noise=1.2), blobs(500, seed=2, noise=1.2)
    expected = np.mean(slow_probe(train, labels, held, 4, c).argmax(axis=1) == truth)
    got = logistic_probe(train, labels, held, truth, c=c)
    assert got.total == 500
    assert got.converged
    assert got.top1 == pytest.approx(expected, abs=2 / 500)


def test_balanced_rows_weigh_as_in_scikit_learn():
    train, labels = blobs(120, seed=1, noise=1.2)
    rows = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels != 0)[:20]])
    train, labels = train[rows].astype(np.float32), labels[rows]
    weights = compute_sample_weight("balanced", labels)
    scaled = StandardScaler().fit_transform(train)
    expected = LogisticRegression(C=0.5, max_iter=200).fit(scaled, labels, sample_weight=weights)
    balanced = logistic_predict(train, labels, train, c=0.5, balanced=True)
    np.testing.assert_allclose(balanced.scores, expected.predict_log_proba(scaled), rtol=1e-3, atol=1e-3)
    assert not np.array_equal(balanced.predicted, logistic_predict(train, labels, train, c=0.5).predicted)


def test_the_penalty_matters():
    (train, labels), (held, truth) = blobs(80, seed=1, noise=1.2), blobs(500, seed=2, noise=1.2)
    weak, strong = (logistic_probe(train, labels, held, truth, c=c).top1 for c in (1.0, 1e-3))
    assert weak != strong


def test_raw_digits_reach_what_is_known_of_them():
    images, labels = load_digits(return_X_y=True)
    got = logistic_probe(images[:1400], labels[:1400], images[1400:], labels[1400:], c=0.1)
    assert 0.89 < got.top1 < 0.92
    assert got.top5 > 0.98


def test_the_scale_of_a_feature_does_not_matter_and_a_constant_one_is_harmless():
    (train, labels), (held, truth) = blobs(200, seed=1), blobs(300, seed=2)
    base = logistic_probe(train, labels, held, truth)
    scale, shift = np.array([1e-4, 1, 1e4, 10, 1, 1, 0.0]), np.array([0, 0, 0, 5, 0, 0, 3.0])
    change = lambda x: np.column_stack([x, x[:, 0]]) * scale + shift  # noqa: E731
    assert logistic_probe(change(train), labels, change(held), truth).top1 == pytest.approx(
        base.top1, abs=0.01
    )
    assert base.top1 > 0.7


def test_unlabeled_rows_are_left_out_on_both_sides():
    (train, labels), (held, truth) = blobs(100, seed=1), blobs(100, seed=2)
    junk, none = np.full((40, 6), 1e3), np.full(40, -1)
    base = logistic_probe(train, labels, held, truth)
    more_train, more_held = np.concatenate([train, junk]), np.concatenate([held, junk])
    got = logistic_probe(more_train, np.append(labels, none), more_held, np.append(truth, none))
    assert got == base


def test_a_class_never_shown_is_never_right():
    (train, labels), (held, truth) = (
        blobs(200, classes=7, seed=1, noise=0.1),
        blobs(200, 7, seed=2, noise=0.1),
    )
    shown = labels != 3
    got = logistic_probe(train[shown], labels[shown], held, truth)
    assert got.top1 == pytest.approx(np.mean(truth != 3))
    assert got.top5 <= np.mean(truth != 3)


def test_one_training_class_predicts_that_class():
    held, truth = blobs(50, seed=2)
    got = logistic_probe(held, np.full(50, 2), held, truth)
    assert got.top1 == pytest.approx(np.mean(truth == 2))


def test_two_classes_work():
    (train, labels), (held, truth) = blobs(100, classes=2, seed=1, noise=0.1), blobs(50, 2, seed=2, noise=0.1)
    assert logistic_probe(train, labels, held, truth)[:2] == (1.0, 1.0)


def test_an_unfinished_fit_says_so_and_warns_nobody(recwarn):
    train, labels = blobs(200, noise=1.0)
    assert not logistic_probe(train, labels, train, labels, max_iter=1).converged
    assert not recwarn.list


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"c": 0.0}, "c > 0"),
        ({"max_iter": 0}, "max_iter >= 1"),
        ({"train_labels": np.full(8, -1)}, "labeled rows to fit"),
        ({"eval_labels": np.full(8, -1)}, "labeled rows to score"),
        ({"eval_features": np.ones((8, 4))}, "same width.*3 and 4"),
        ({"eval_features": np.ones(8)}, "eval_features must be"),
        ({"c": None, "train_labels": np.full(8, -1)}, "labeled rows to fit"),
        ({"train_labels": np.arange(8)}, r"in \[0, 2\)"),
        ({"eval_labels": np.arange(8)}, r"in \[0, 2\)"),
        ({"train_features": np.full((8, 3), np.nan)}, "train_features must be finite"),
        ({"eval_features": np.full((8, 3), np.inf)}, "eval_features must be finite"),
    ],
)
def test_wrong_input_is_named_in_one_line(change, said):
    x, y = np.random.default_rng(0).standard_normal((8, 3)), np.arange(8) % 2
    good = {"train_features": x, "train_labels": y, "eval_features": x, "eval_labels": y, "num_classes": 2}
    assert logistic_probe(**good).total == 8
    with pytest.raises(InputError, match=said) as error:
        logistic_probe(**{**good, **change})
    assert "\n" not in str(error.value)


def test_predictions_and_scores_agree_with_the_accuracy_of_the_same_fit():
    (train, labels), (held, truth) = blobs(80, seed=1, noise=1.2), blobs(500, seed=2, noise=1.2)
    found = logistic_predict(train, labels, held, num_classes=6)
    assert found.scores.shape == (500, 6)
    np.testing.assert_allclose(np.exp(found.scores).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.predicted, found.scores.argmax(axis=1))
    assert np.mean(found.predicted == truth) == logistic_probe(train, labels, held, truth).top1
    assert (found.c, found.converged) == (1.0, True)


def test_probabilities_that_round_to_zero_give_no_warning(recwarn):
    labels = np.arange(8) % 2
    features = 50.0 * np.eye(2)[labels]
    scores = logistic_predict(features, labels, 1e6 * features, c=100.0).scores
    assert scores.min() == -np.inf
    np.testing.assert_array_equal(scores.argmax(axis=1), labels)
    assert not [str(warning.message) for warning in recwarn]


@pytest.mark.parametrize("classes", [[0, 1, 2, 3], [0, 2], [1]])
def test_linear_layer_gives_the_same_probabilities(classes):
    train, labels = blobs(80, seed=1, noise=1.2)
    queries, _ = blobs(50, seed=2, noise=1.2)
    rows = np.isin(labels, classes)
    scores = logistic_predict(3 + 5 * train[rows], labels[rows], 3 + 5 * queries, num_classes=6)
    logits = (3 + 5 * queries) @ scores.kernel + scores.bias
    twin = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(twin[:, classes], scores.scores[:, classes], atol=1e-4)
    np.testing.assert_array_equal(logits.argmax(axis=1), scores.predicted)
    assert np.exp(np.delete(twin, classes, axis=1)).max() < 1e-30


def test_rows_to_predict_need_no_labels_and_may_be_none_at_all():
    train, labels = blobs(80, seed=1)
    assert logistic_predict(train, labels, train[:3]).predicted.tolist() == labels[:3].tolist()
    assert logistic_predict(train, labels, train[:0]).scores.shape == (0, 4)


def slow_choice(features, labels, folds):
    """Twin: the first c of best mean accuracy over the parts, each standardised by the rows it is fitted to."""
    means = []
    for c in 10.0 ** np.arange(-4, 3):
        shares = []
        for fit, rest in StratifiedKFold(folds, shuffle=True, random_state=0).split(features, labels):
            scaler = StandardScaler().fit(features[fit])
            model = LogisticRegression(C=c, max_iter=200).fit(scaler.transform(features[fit]), labels[fit])
            shares.append(np.mean(model.predict(scaler.transform(features[rest])) == labels[rest]))
        means.append(np.mean(shares))
    return 10.0 ** (np.argmax(means) - 4)


@pytest.mark.parametrize(("per_class", "folds"), [(30, 5), (3, 3)])
def test_c_is_chosen_by_cross_validation_on_the_training_rows(per_class, folds):
    train, labels = blobs(4000, seed=0, noise=1.5)
    rows = np.concatenate([np.flatnonzero(labels == k)[:per_class] for k in range(4)])
    train = np.column_stack([train, np.random.default_rng(5).standard_normal((4000, 30))])[rows].astype(
        np.float32
    )
    labels = labels[rows]
    expected = slow_choice(train, labels, folds)
    assert 1e-4 < expected < 100  # or the ends of what is tried would do
    found = logistic_predict(train, labels, train, c=None)
    assert found.c == pytest.approx(expected)
    np.testing.assert_array_equal(
        found.scores, logistic_predict(train, labels, train, c=float(expected)).scores
    )


def test_a_chosen_c_is_better_than_a_bad_one():
    noise = np.random.default_rng(5).standard_normal((2000, 40))
    (train, labels), (held, truth) = blobs(60, seed=1, noise=1.5), blobs(2000, seed=2, noise=1.5)
    rows = np.column_stack([train, noise[:60]]), labels, np.column_stack([held, noise]), truth
    assert logistic_probe(*rows, c=None).top1 > logistic_probe(*rows, c=100.0).top1 + 0.02


def test_classes_of_a_single_row_take_no_part_in_the_choice():
    train, labels = blobs(60, seed=1, noise=1.5)
    more, more_labels = np.concatenate([train, 9 + train[:1]]), np.append(labels, 4)
    found = logistic_predict(more, more_labels, more, c=None)
    assert found.c == logistic_predict(train, labels, train, c=None).c
    assert found.predicted[-1] == 4


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 1], [2, 2, 2, 2]])
def test_where_nothing_can_be_cross_validated_c_is_1(labels, recwarn):
    features = np.eye(4)
    assert logistic_predict(features, np.array(labels), features, c=None).c == 1.0
    assert not recwarn.list
