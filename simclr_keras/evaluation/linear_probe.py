"""Logistic regression on frozen features: the quick form of linear evaluation."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import UNLABELED, accuracy, check_label_range, labeled_rows

# L-BFGS makes many small matrix products: up to this many features, threads that wait for each other on a busy
# machine cost up to a hundred times what they bring.
_MOST_FOR_ONE_THREAD = 10_000_000

# What cross-validation chooses among, and in how many parts it cuts the rows at most.
_CS = tuple(10.0**k for k in range(-4, 3))
_FOLDS = 5


class ProbeScores(NamedTuple):
    """What logistic regression makes of n rows.

    `scores` is float64 [n, num_classes]: log-probabilities, -inf for classes the training rows never show;
    `predicted` int64 [n] the best of them; `c` the penalty's inverse strength that was used; `converged` is False
    where max_iter ended the fit.
    """

    scores: np.ndarray
    predicted: np.ndarray
    c: float
    converged: bool


class ProbeAccuracy(NamedTuple):
    """Shares in [0, 1] of `total` labeled rows; `converged` is False where max_iter ended the fit."""

    top1: float
    top5: float
    total: int
    converged: bool


def logistic_predict(train_features, train_labels, eval_features, *, num_classes=None, c=1.0, max_iter=200):
    """Fits multinomial logistic regression to features and scores the classes of others.

    Features are standardised by the training rows' mean and deviation. The fit is convex and starts from
    zero (L-BFGS), and the parts of the cross-validation are fixed: the same features give the same result.

    Args:
        train_features: finite floats [n, d].
        train_labels: integers [n] in [0, num_classes); rows labeled -1 are left out.
        eval_features: finite floats [m, d].
        num_classes: classes to score; by default the largest label plus 1.
        c: inverse strength of the l2 penalty as in scikit-learn: the penalty |w|^2 / 2 stands against
            c times the sum (not the mean) of the losses. Above 0. None chooses among 1e-4, 1e-3 .. 100 the one
            with the best top-1 in stratified cross-validation on the training rows (5 parts, fewer where a class
            has fewer rows; the smallest of equals). Classes with a single labeled row take no part in the
            choice; where fewer than two classes are left to choose by, it is 1.
        max_iter: L-BFGS iterations at most.

    Returns:
        A `ProbeScores` (scores, predicted, c, converged).

    Raises:
        InputError: where shapes, labels or features do not fit, or no training row is labeled.
    """
    if not (c is None or c > 0) or max_iter < 1:
        raise InputError(f"the probe needs c > 0 and max_iter >= 1. Received: c={c}, max_iter={max_iter}")
    train, labels = labeled_rows(train_features, train_labels, name="train_features")
    held = np.asarray(eval_features)
    if not len(train):
        raise InputError("the probe needs labeled rows to fit")
    if held.ndim != 2:
        raise InputError(f"eval_features must be [m, d]. Received: shape {held.shape}")
    if train.shape[1] != held.shape[1]:
        raise InputError(
            "training and evaluation features must have the same width. "
            f"Received: {train.shape[1]} and {held.shape[1]}"
        )
    if num_classes is None:
        num_classes = int(labels.max()) + 1
    check_label_range(labels, num_classes)
    for name, values in (("train_features", train), ("eval_features", held)):
        if not np.all(np.isfinite(values)):
            raise InputError(f"{name} must be finite, it holds NaN or infinity: has training diverged?")

    # A class the training rows never show cannot be predicted: it stays below every score.
    scores = np.full((len(held), num_classes), -np.inf)
    known = np.unique(labels)
    if len(known) == 1:
        scores[:, known[0]] = 0.0
        return ProbeScores(scores, scores.argmax(axis=1), 1.0 if c is None else c, True)

    train, held = train.astype(np.float32), held.astype(np.float32)
    threads = 1 if train.size <= _MOST_FOR_ONE_THREAD else None
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if c is None:
            c = _choose_c(train, labels, max_iter)
        model = _model(max_iter, c).fit(train, labels)
    # Rows of no features at all would be refused.
    if len(held):
        scores[:, model.classes_] = model.predict_log_proba(held)
    converged = bool(model[-1].n_iter_.max() < max_iter)
    return ProbeScores(scores, scores.argmax(axis=1), float(c), converged)


def logistic_probe(
    train_features, train_labels, eval_features, eval_labels, *, num_classes=None, c=1.0, max_iter=200
):
    """Top-1 and top-5 accuracy of `logistic_predict` over the labeled evaluation rows.

    Args:
        eval_features: finite floats [m, d].
        eval_labels: integers [m] in [0, num_classes), or -1 for a row that is not counted.
        num_classes: classes to score; by default the largest label of either side plus 1.
        train_features, train_labels, c, max_iter: as in `logistic_predict`.

    Returns:
        A `ProbeAccuracy` (top1, top5, total, converged).

    Raises:
        InputError: where shapes, labels or features do not fit, or a side has no labeled row.
    """
    held, eval_labels = labeled_rows(eval_features, eval_labels, name="eval_features")
    if not len(held):
        raise InputError("the probe needs labeled rows to score")
    if num_classes is None:
        num_classes = int(max(np.max(train_labels, initial=UNLABELED), eval_labels.max())) + 1
    check_label_range(eval_labels, num_classes)
    found = logistic_predict(
        train_features, train_labels, held, num_classes=num_classes, c=c, max_iter=max_iter
    )
    return ProbeAccuracy(*accuracy(found.scores, eval_labels), found.converged)


def _model(max_iter, c=1.0):
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=max_iter))


def _choose_c(features, labels, max_iter):
    """The c of best top-1 in stratified cross-validation."""
    classes, counts = np.unique(labels, return_counts=True)
    several = classes[counts > 1]
    if len(several) < 2:
        return 1.0
    # A row that is alone in its class would be missing from either side of every cut.
    rows = np.isin(labels, several)
    folds = min(_FOLDS, counts[counts > 1].min())
    search = GridSearchCV(
        _model(max_iter),
        {"logisticregression__C": _CS},
        cv=StratifiedKFold(folds, shuffle=True, random_state=0),
        refit=False,
    )
    return search.fit(features[rows], labels[rows]).best_params_["logisticregression__C"]
