"""The judgment: accuracies with intervals, the choice among candidates, and what is said about it."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from simclr_keras.evaluation.metrics import accuracy_interval
from simclr_keras.fit.candidates.pieces import Piece

FEW_TEST_IMAGES = 50


@dataclasses.dataclass(frozen=True)
class Share:
    """An accuracy: `correct` of `total` images."""

    correct: int
    total: int

    @property
    def value(self) -> float:
        """Return it as a number in [0, 1]."""
        return self.correct / max(self.total, 1)

    @property
    def interval(self) -> tuple[float, float]:
        """Return its 95 % interval."""
        return accuracy_interval(self.correct, self.total) if self.total else (0.0, 1.0)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} ({low:.1%} to {high:.1%})"


@dataclasses.dataclass(frozen=True)
class Judged:
    """A candidate with its cross-validation.

    Attributes:
        piece: what was tried. record: of its cross-validation.
        scores: log-probabilities, float [m, classes], NaN for photos that were not judged.
        share: its accuracy on the others.
    """

    piece: Piece
    record: dict
    scores: np.ndarray
    share: Share

    @property
    def rows(self) -> np.ndarray:
        """Return whether a photo was judged, bool [m]."""
        return ~np.isnan(self.scores[:, 0])


def judged(piece: Piece, record: dict, scores: np.ndarray, labels: np.ndarray) -> Judged:
    """Return a Judged. labels: int [m]."""
    rows = ~np.isnan(scores[:, 0])
    return Judged(piece, record, scores, share_of(scores[rows], labels[rows]))


def share_of(scores: np.ndarray, labels: np.ndarray) -> Share:
    """Return the accuracy of scores [n, classes] for labels [n]."""
    return Share(int(np.sum(scores.argmax(axis=1) == labels)), len(labels))


def choose(candidates: Sequence[Judged], labels: np.ndarray) -> Judged:
    """Return the best candidate: one after the other is compared with the best so far, on the photos of both.

    A candidate replaces the best one only if it is right about more of these photos: the first of equals is simpler.

    Args:
        candidates: in the order in which they were tried. labels: int [m].
    """
    best = candidates[0]
    for candidate in candidates[1:]:
        rows = best.rows & candidate.rows
        if (
            share_of(candidate.scores[rows], labels[rows]).correct
            > share_of(best.scores[rows], labels[rows]).correct
        ):
            best = candidate
    return best


def verdict(best: Judged, candidates: Sequence[Judged], test: dict[str, Share]) -> list[str]:
    """Return sentences about the chosen candidate and the baselines.

    Args:
        best: the chosen one. candidates: all. test: accuracies on the test images by name of the piece.
    """
    lines = []
    baselines = [candidate for candidate in candidates if candidate.piece.is_baseline]
    if best.piece.is_baseline:
        lines.append(
            f"Nothing that was tried beats the baseline: the exported model is {best.piece.title}. Try --init with "
            "published weights, more minutes, or more labels."
        )
    own = test[best.piece.name]
    for baseline in baselines:
        if baseline is best:
            continue
        other = test.get(baseline.piece.name)
        points = 100 * (own.value - other.value) if other else 0.0
        if other and points <= 0:
            lines.append(
                f"On the test images the chosen model does not beat {baseline.piece.title}: {own.value:.1%} and "
                f"{other.value:.1%}. It was chosen by cross-validation, not by these images."
            )
        elif other:
            unsure = " The intervals overlap: with so few test images, this may be chance." * (
                own.interval[0] <= other.interval[1]
            )
            lines.append(
                f"On the test images it is {points:.1f} points above {baseline.piece.title}.{unsure}"
            )
    if own.total < FEW_TEST_IMAGES:
        lines.append(
            f"{own.total} test images are few: the true accuracy may lie anywhere from {own.interval[0]:.0%} to "
            f"{own.interval[1]:.0%}. The cross-validated figure, {best.share}, is of {best.share.total} photos; the "
            "models in it had fewer labels than the exported one, but it was also used to choose."
        )
    return lines


def suspicious(scores: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """Return rows whose label is most likely wrong, the worst first: the model is sure of another class.

    Args:
        scores: log-probabilities [n, classes] of models that did not see the row's label; NaN rows are left out.
        labels: int [n]. most: rows.
    """
    rows = np.flatnonzero(~np.isnan(scores[:, 0]))
    own = scores[rows, labels[rows]]
    best = scores[rows].max(axis=1)
    order = np.argsort(own - best, kind="stable")
    return rows[order][(own - best)[order] < 0][:most]


def uncertain(scores: np.ndarray, most: int) -> np.ndarray:
    """Return rows whose two best classes are closest, the closest first. scores: log-probabilities [n, classes]."""
    probabilities = np.sort(np.exp(scores), axis=1)
    margins = probabilities[:, -1] - probabilities[:, -2]
    return np.argsort(margins, kind="stable")[:most]
