"""Per-class figures and confusions against counting by hand."""

import json

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.evaluation.classification import confusion, per_class

LABELS = np.array([0, 0, 0, 1, 1, 2, -1, -1])
PREDICTED = np.array([0, 0, 1, 1, 2, 1, 0, 2])


def slow_confusion(labels, predicted, num_classes):
    """Twin: one row at a time."""
    counts = np.zeros((num_classes, num_classes), int)
    for label, guess in zip(labels, predicted):
        if label != -1:
            counts[label, guess] += 1
    return counts


def test_a_case_counted_by_hand():
    assert per_class(LABELS, PREDICTED, ["ant", "bee", "cat"]) == [
        {
            "name": "ant",
            "images": 3,
            "recall": pytest.approx(2 / 3),
            "precision": 1.0,
            "f1": pytest.approx(0.8),
        },
        {
            "name": "bee",
            "images": 2,
            "recall": 0.5,
            "precision": pytest.approx(1 / 3),
            "f1": pytest.approx(0.4),
        },
        {"name": "cat", "images": 1, "recall": 0.0, "precision": 0.0, "f1": 0.0},
    ]
    assert confusion(LABELS, PREDICTED, 3).tolist() == [[2, 1, 0], [0, 1, 1], [0, 1, 0]]


@pytest.mark.parametrize("num_classes", [1, 2, 10, 300])
def test_confusions_equal_the_slow_twin(num_classes):
    rng = np.random.default_rng(num_classes)
    labels, predicted = rng.integers(-1, num_classes, 500), rng.integers(0, num_classes, 500)
    np.testing.assert_array_equal(
        confusion(labels, predicted, num_classes), slow_confusion(labels, predicted, num_classes)
    )


def test_per_class_figures_follow_from_the_confusions():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(-1, 7, 500), rng.integers(0, 7, 500)
    counts = slow_confusion(labels, predicted, 7)
    for k, entry in enumerate(per_class(labels, predicted, list("abcdefg"))):
        recall, precision = counts[k, k] / counts[k].sum(), counts[k, k] / counts[:, k].sum()
        assert entry["images"] == counts[k].sum()
        assert entry["recall"] == pytest.approx(recall)
        assert entry["precision"] == pytest.approx(precision)
        assert entry["f1"] == pytest.approx(2 * recall * precision / (recall + precision))


def test_figures_that_do_not_exist_are_none_and_warn_nobody(recwarn):
    never_there, never_said, neither = (
        per_class([1, 1], [1, 0], ["a", "b", "c"])[0],
        *per_class([0, 1], [0, 0], ["a", "b", "c"])[1:],
    )
    assert never_there == {"name": "a", "images": 0, "recall": None, "precision": 0.0, "f1": 0.0}
    assert never_said == {"name": "b", "images": 1, "recall": 0.0, "precision": None, "f1": 0.0}
    assert neither == {"name": "c", "images": 0, "recall": None, "precision": None, "f1": None}
    assert not recwarn.list


def test_results_hold_as_json():
    figures = per_class(LABELS.astype(np.int32), PREDICTED.astype(np.int64), np.array(["a", "b", "c"]))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@pytest.mark.parametrize(
    ("labels", "predicted", "said"),
    [
        ([0, 3], [0, 1], r"labels must be in \[0, 3\).*to 3"),
        ([0, 1], [0, 3], r"labels must be in \[0, 3\).*to 3"),
        ([0, 1], [0, -1], r"labels must be in \[0, 3\).*from -1"),
        ([0, 1], [0, 1, 2], "its labels"),
        ([0, 1], [0.0, 1.0], "integers"),
        ([0, 1], [[0, 1], [1, 0]], "one class per row"),
        ([-1, -1], [0, 1], "nothing to count"),
        ([], [], "predictions must be integers"),
    ],
)
def test_wrong_input_is_named_in_one_line(labels, predicted, said):
    for figures in (
        lambda: confusion(labels, predicted, 3),
        lambda: per_class(labels, predicted, ["a", "b", "c"]),
    ):
        with pytest.raises(InputError, match=said) as error:
            figures()
        assert "\n" not in str(error.value)
