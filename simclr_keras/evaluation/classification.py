"""Recall, precision and F1 of each class, and the confusion matrix."""

from collections.abc import Sequence

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import check_label_range, labeled_rows


def per_class(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> list[dict]:
    """Return recall, precision and F1 of every class, over the rows whose label is not -1.

    Args:
        labels: integers [n] in [0, number of classes), or -1 for a row that is not counted.
        predicted: integers [n] in [0, number of classes), the predicted class of each row.
        class_names: name of every class, in the order of the labels.

    Returns:
        A list of {"name", "images", "recall", "precision", "f1"}, one per class: `images` rows have its label;
        the others are floats in [0, 1], or None if undefined: the recall of a class without images, the
        precision of a class that is never predicted, the F1 of a class that is both.

    Raises:
        InputError: shapes or labels do not fit, or no row is labeled.
    """
    # Slow to import, and training begins without it.
    from sklearn.metrics import precision_recall_fscore_support

    labels, predicted = _counted(labels, predicted, len(class_names))
    precision, recall, f1, images = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(class_names)), zero_division=np.nan
    )
    return [
        {
            "name": str(name),
            "images": int(images[k]),
            "recall": _or_none(recall[k]),
            "precision": _or_none(precision[k]),
            "f1": _or_none(f1[k]),
        }
        for k, name in enumerate(class_names)
    ]


def confusion(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the confusion matrix, int64 [num_classes, num_classes]: labels down, predictions across.

    Args:
        labels: integers [n] in [0, num_classes), or -1 for a row that is not counted.
        predicted: integers [n] in [0, num_classes).
        num_classes: number of classes.

    Raises:
        InputError: shapes or labels do not fit, or no row is labeled.
    """
    labels, predicted = _counted(labels, predicted, num_classes)
    cells = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def _counted(labels, predicted, num_classes):
    """Return labels and predictions of the rows whose label is not -1, checked."""
    predicted = np.asarray(predicted)
    if predicted.ndim != 1 or not np.issubdtype(predicted.dtype, np.integer):
        raise InputError(
            "predictions must be integers [n], one class per row. "
            f"Received: dtype {predicted.dtype}, shape {predicted.shape}"
        )
    predicted, labels = labeled_rows(predicted[:, None], labels, name="predictions")
    if not len(labels):
        raise InputError("there is nothing to count: all labels are -1 or there are none")
    predicted = predicted[:, 0]
    for classes in (labels, predicted):
        check_label_range(classes, num_classes)
    return labels, predicted


def _or_none(value):
    return None if np.isnan(value) else float(value)
