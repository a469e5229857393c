"""Logistic regression on frozen features: the quick form of linear evaluation."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import UNLABELED, accuracy, check_label_range, labeled_rows

# L-BFGS makes many small matrix products: up to this many features, threads that wait for each other on a busy
# machine cost up to a hundred times what they bring.
_MOST_FOR_ONE_THREAD = 10_000_000

_NEVER = -100.0  # logit of a class without training rows; the best logit is never below 0 by much
# The values that cross-validation compares, and its number of folds.
_CS = tuple(10.0**k for k in range(-4, 3))
_FOLDS = 5


class ProbeScores(NamedTuple):
    """Predictions of logistic regression for n rows.

    `scores` is float64 [n, num_classes]: log-probabilities, -inf for classes without training rows and for
    probabilities that round to 0; `predicted` int64 [n] the best of them; `c` the penalty's inverse strength that
    was used; `converged` is False if max_iter ended the fit. A linear layer with `kernel`, float64 [d, num_classes],
    and `bias`, [num_classes], gives logits with these probabilities for features that are not standardized; classes
    without training rows get -100.
    """

    scores: np.ndarray
    predicted: np.ndarray
    c: float
    converged: bool
    kernel: np.ndarray
    bias: np.ndarray


class ProbeAccuracy(NamedTuple):
    """An `Accuracy`; `converged` is False if max_iter ended the fit."""

    top1: float
    top5: float
    total: int
    balanced_accuracy: float
    converged: bool


def logistic_predict(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    eval_features: np.ndarray,
    *,
    num_classes: int | None = None,
    c: float | None = 1.0,
    max_iter: int = 200,
    balanced: bool = False,
    groups: np.ndarray | None = None,
) -> ProbeScores:
    """Fit multinomial logistic regression to features and score the classes of others.

    Features are standardized by the training rows' mean and deviation. The fit is convex and starts from
    zero (L-BFGS), and the parts of the cross-validation are fixed: the same features give the same result.

    Args:
        train_features: finite floats [n, d].
        train_labels: integers [n] in [0, num_classes); rows labeled -1 are left out.
        eval_features: finite floats [m, d].
        num_classes: classes to score; by default the largest label plus 1.
        c: inverse strength of the l2 penalty as in scikit-learn: the objective is |w|^2 / 2 plus
            c times the sum (not the mean) of the losses. Above 0. None chooses among 1e-4, 1e-3 .. 100 the value
            with the best top-1 in stratified cross-validation on the training rows (5 folds, fewer if a class
            has fewer rows; the smallest of equals). Classes with a single labeled row are left out of the
            cross-validation; if fewer than two classes remain, c is 1.
        max_iter: L-BFGS iterations at most.
        balanced: whether the loss of a row is weighted by the inverse of the number of rows of its class, 1 on average.
            Cross-validation then compares balanced accuracies.
        groups: integers [n]; the cross-validation keeps training rows of one group in one fold, and counts the groups
            of a class instead of its rows. None: every row is a group.

    Returns:
        A `ProbeScores` (scores, predicted, c, converged, kernel, bias).

    Raises:
        InputError: shapes, labels or features do not fit, or no training row is labeled.
    """
    if not (c is None or c > 0) or max_iter < 1:
        raise InputError(f"the probe needs c > 0 and max_iter >= 1. Received: c={c}, max_iter={max_iter}")
    train, labels = labeled_rows(train_features, train_labels, name="train_features")
    if groups is not None:
        groups = np.asarray(groups)[np.asarray(train_labels) != UNLABELED]
    eval_features = np.asarray(eval_features)
    if not len(train):
        raise InputError("the probe needs labeled rows to fit")
    if eval_features.ndim != 2:
        raise InputError(f"eval_features must be [m, d]. Received: shape {eval_features.shape}")
    if train.shape[1] != eval_features.shape[1]:
        raise InputError(
            "training and evaluation features must have the same width. "
            f"Received: {train.shape[1]} and {eval_features.shape[1]}"
        )
    if num_classes is None:
        num_classes = int(labels.max()) + 1
    check_label_range(labels, num_classes)
    for name, values in (("train_features", train), ("eval_features", eval_features)):
        if not np.all(np.isfinite(values)):
            raise InputError(
                f"{name} must be finite but contain NaN or infinity; check whether training diverged"
            )

    # A class without training rows cannot be predicted: its score stays the lowest.
    scores = np.full((len(eval_features), num_classes), -np.inf)
    kernel, bias = np.zeros((train.shape[1], num_classes)), np.full(num_classes, _NEVER)
    classes = np.unique(labels)
    if len(classes) == 1:
        scores[:, classes[0]] = bias[classes[0]] = 0.0
        return ProbeScores(scores, scores.argmax(axis=1), 1.0 if c is None else c, True, kernel, bias)

    train, eval_features = (array.astype(np.float32, copy=False) for array in (train, eval_features))
    threads = 1 if train.size <= _MOST_FOR_ONE_THREAD else None
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if c is None:
            c = _choose_c(train, labels, groups, max_iter, balanced)
        model = _model(max_iter, balanced, c).fit(train, labels)
    # scikit-learn refuses an empty array.
    if len(eval_features):
        with np.errstate(divide="ignore"):  # the logarithm of a probability that rounds to 0
            scores[:, model.classes_] = model.predict_log_proba(eval_features)
    kernel[:, model.classes_], bias[model.classes_] = _linear_layer(*model)
    converged = bool(model[-1].n_iter_.max() < max_iter)
    return ProbeScores(scores, scores.argmax(axis=1), float(c), converged, kernel, bias)


def logistic_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    eval_features: np.ndarray,
    eval_labels: np.ndarray,
    *,
    num_classes: int | None = None,
    c: float | None = 1.0,
    max_iter: int = 200,
) -> ProbeAccuracy:
    """Return top-1 and top-5 accuracy of `logistic_predict` over the labeled evaluation rows.

    Args:
        eval_features: finite floats [m, d].
        eval_labels: integers [m] in [0, num_classes), or -1 for a row that is not counted.
        num_classes: classes to score; by default the largest label of either side plus 1.
        train_features, train_labels, c, max_iter: as in `logistic_predict`.

    Returns:
        A `ProbeAccuracy` (top1, top5, total, balanced_accuracy, converged).

    Raises:
        InputError: shapes, labels or features do not fit, or a side has no labeled row.
    """
    eval_features, eval_labels = labeled_rows(eval_features, eval_labels, name="eval_features")
    if not len(eval_features):
        raise InputError("the probe needs labeled rows to score")
    if num_classes is None:
        num_classes = int(max(np.max(train_labels, initial=UNLABELED), eval_labels.max())) + 1
    check_label_range(eval_labels, num_classes)
    prediction = logistic_predict(
        train_features, train_labels, eval_features, num_classes=num_classes, c=c, max_iter=max_iter
    )
    return ProbeAccuracy(*accuracy(prediction.scores, eval_labels), prediction.converged)


def _model(max_iter, balanced, c=1.0):
    class_weight = "balanced" if balanced else None
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=c, max_iter=max_iter, class_weight=class_weight)
    )


def _linear_layer(scaler, regression):
    """Return (kernel [d, classes], bias [classes]) of standardization and regression together."""
    weights, bias = regression.coef_.astype(np.float64), regression.intercept_.astype(np.float64)
    if len(weights) == 1:  # of two classes scikit-learn has one logit, the difference
        weights, bias = np.vstack([0 * weights, weights]), np.append(0.0, bias)
    weights = weights / scaler.scale_
    return weights.T, bias - weights @ scaler.mean_


def _choose_c(features, labels, groups, max_iter, balanced):
    """Return the c of best top-1, or balanced accuracy, in stratified cross-validation."""
    rows = np.arange(len(labels)) if groups is None else groups
    classes, counts = np.unique(np.unique([labels, rows], axis=1)[0], return_counts=True)
    several = classes[counts > 1]
    if len(several) < 2:
        return 1.0
    # A class of one row, or group, cannot be in both the training and the test part of a fold.
    is_used = np.isin(labels, several)
    folds = StratifiedKFold if groups is None else StratifiedGroupKFold
    search = GridSearchCV(
        _model(max_iter, balanced),
        {"logisticregression__C": _CS},
        scoring="balanced_accuracy" if balanced else None,
        cv=folds(min(_FOLDS, counts[counts > 1].min()), shuffle=True, random_state=0),
        refit=False,
    )
    search.fit(features[is_used], labels[is_used], groups=None if groups is None else groups[is_used])
    return search.best_params_["logisticregression__C"]
