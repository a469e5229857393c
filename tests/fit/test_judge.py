"""The judgment: candidates are compared on the photos of both, and a baseline that wins is named."""

import numpy as np
import pytest

from simclr_keras.fit.candidates.pieces import Piece
from simclr_keras.fit.judge import Share, choose, judged, suspicious, uncertain, verdict

LABELS = np.array([0, 1, 0, 1, 0, 1])


def candidate(name, predicted, is_baseline=False):
    """A Judged with these predictions; None: not judged."""
    scores = np.full((len(predicted), 2), np.nan)
    for row, label in enumerate(predicted):
        if label is not None:
            scores[row] = np.log([0.1, 0.9] if label else [0.9, 0.1])
    return judged(Piece(name, name, 1.0, is_baseline=is_baseline), {}, scores, LABELS)


def test_candidates_are_compared_on_the_photos_of_both():
    good = candidate("good", [0, 1, 0, 0, 1, 1])  # 4 of 6, but all of the first three
    lucky = candidate("lucky", [0, 1, 0, None, None, None])  # 3 of 3
    better = candidate("better", [None, None, None, 1, 0, None])
    assert choose([good, lucky], LABELS) is good  # the first of equals
    assert choose([good, lucky, better], LABELS) is better
    assert (good.share.correct, good.share.total, lucky.share.value) == (4, 6, 1.0)


def test_verdict_names_a_baseline_that_wins():
    colors = candidate("colors", [0, 1, 0, 1, 0, 1], is_baseline=True)
    network = candidate("network", [0, 1, 0, 1, 1, 1])
    lines = verdict(colors, [colors, network], {"colors": Share(80, 100)})
    assert "Nothing that was tried beats the baseline" in lines[0]

    lines = verdict(network, [colors, network], {"network": Share(50, 100), "colors": Share(60, 100)})
    assert "does not beat colors: 50.0% and 60.0%" in lines[0]

    few = verdict(network, [colors, network], {"network": Share(15, 20), "colors": Share(5, 20)})
    assert "50.0 points above colors" in few[0]
    assert "20 test images are few" in few[-1]
    assert "cross-validated figure, 83.3%" in few[-1]


def test_suspicious_and_uncertain_photos():
    probabilities = np.array([[0.99, 0.01], [0.4, 0.6], [0.02, 0.98], [0.55, 0.45]])
    scores = np.log(probabilities)
    labels = np.array([1, 1, 0, 0])
    assert suspicious(scores, labels, 5).tolist() == [0, 2]
    assert uncertain(scores, 2).tolist() == [3, 1]
    scores[0] = np.nan
    assert suspicious(scores, labels, 5).tolist() == [2]


def test_interval_is_wilsons():
    low, high = Share(9, 10).interval
    assert (low, high) == pytest.approx((0.596, 0.982), abs=1e-3)
