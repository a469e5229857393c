"""Logistic regression on frozen features: the quick form of linear evaluation."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import accuracy, check_label_range, labeled_rows

# L-BFGS makes many small matrix products: up to this many features, threads that wait for each other on a busy
# machine cost up to a hundred times what they bring.
_MOST_FOR_ONE_THREAD = 10_000_000


class ProbeAccuracy(NamedTuple):
    """Shares in [0, 1] of `total` labelled rows; `converged` is False where max_iter ended the fit."""

    top1: float
    top5: float
    total: int
    converged: bool


def logistic_probe(
    train_features, train_labels, eval_features, eval_labels, *, num_classes=None, c=1.0, max_iter=200
):
    """Fits multinomial logistic regression to features and scores it on others.

    Features are standardised by the training rows' mean and deviation. The fit is convex and starts from
    zero (L-BFGS), so it has no seed: the same features give the same result. Rows labelled -1 are left
    out on both sides.

    Args:
        train_features: finite floats [n, d].
        train_labels: integers [n] in [0, num_classes), or -1.
        eval_features: finite floats [m, d].
        eval_labels: integers [m] in [0, num_classes), or -1.
        num_classes: classes to score; by default the largest label of either side plus 1.
        c: inverse strength of the l2 penalty as in scikit-learn: the penalty |w|^2 / 2 stands against
            c times the sum (not the mean) of the losses. Above 0.
        max_iter: L-BFGS iterations at most.

    Returns:
        A `ProbeAccuracy` (top1, top5, total, converged).

    Raises:
        InputError: where shapes, labels or features do not fit, or a side has no labelled row.
    """
    if not c > 0 or max_iter < 1:
        raise InputError(f"the probe needs c > 0 and max_iter >= 1. Received: c={c}, max_iter={max_iter}")
    train, train_labels = labeled_rows(train_features, train_labels, name="train_features")
    held, eval_labels = labeled_rows(eval_features, eval_labels, name="eval_features")
    if not len(train) or not len(held):
        raise InputError("the probe needs labelled rows to fit and labelled rows to score")
    if train.shape[1] != held.shape[1]:
        raise InputError(
            "training and evaluation features must have the same width. "
            f"Received: {train.shape[1]} and {held.shape[1]}"
        )
    if num_classes is None:
        num_classes = int(max(train_labels.max(), eval_labels.max())) + 1
    check_label_range(train_labels, num_classes)
    check_label_range(eval_labels, num_classes)
    for name, features in (("train_features", train), ("eval_features", held)):
        if not np.all(np.isfinite(features)):
            raise InputError(f"{name} must be finite, it holds NaN or infinity: has training diverged?")

    # A class the training rows never show cannot be predicted: it stays below every score.
    scores = np.full((len(held), num_classes), -np.inf)
    known = np.unique(train_labels)
    converged = True
    if len(known) == 1:
        scores[:, known[0]] = 0.0
    else:
        scaler = StandardScaler().fit(train.astype(np.float32))
        model = LogisticRegression(C=c, max_iter=max_iter)
        threads = 1 if train.size <= _MOST_FOR_ONE_THREAD else None
        with threadpool_limits(threads), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaler.transform(train.astype(np.float32)), train_labels)
        converged = bool(model.n_iter_.max() < max_iter)
        scores[:, model.classes_] = model.predict_log_proba(scaler.transform(held.astype(np.float32)))
    return ProbeAccuracy(*accuracy(scores, eval_labels), converged)
