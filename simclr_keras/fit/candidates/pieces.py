"""The pieces of a fit: what is tried, in the order of promise and price, with the time that each needs."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import log_softmax

from simclr_keras.config.fit import FitConfig
from simclr_keras.evaluation.cross_validation import is_in_several_groups
from simclr_keras.fit.candidates.linear import COLOR_BINS, CS, FOLDS, Linear, View, outputs_of
from simclr_keras.fit.candidates.start_network import StartNetwork
from simclr_keras.fit.candidates.trainings import ALL, Part, Trainings
from simclr_keras.fit.photos import Photos
from simclr_keras.fit.speeds import Speed
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.runs.open_run import open_run

TRAINED_FOLDS = 2  # of FOLDS, on which trainings are judged: each fold is a training
COLOR_STRENGTH = 0.3  # the paper's 1.0 destroys what photos of goods or plants are told apart by
SHARES = {"baseline": 0.1, "pretraining": 0.4, "training": 0.12}  # of the minutes, for one piece

Scores = tuple[np.ndarray, dict]


@dataclasses.dataclass(frozen=True)
class Piece:
    """Something that is tried.

    Attributes:
        name: of its files. title: in words.
        seconds: that it needs, by the speed of this machine; with the training on all labels.
        judge: returns its cross-validated log-probabilities, float [m, classes], NaN for photos that were not judged,
            and a record. None: the piece only prepares others.
        network: returns the trained network in float32 and the side of its images; called with the record of `judge`,
            and with "all" labels or a fold, whose labels it does not see.
        prepare: does the work of a piece without `judge`.
        after: name of the piece that it needs.
        is_baseline: whether a candidate should beat it.
        is_training: whether its network is trained as a whole, on all labels once more for the export.
    """

    name: str
    title: str
    seconds: float
    judge: Callable[[], Scores] | None = None
    network: Callable[[dict, Part], tuple[SimCLRModel, int]] | None = None
    prepare: Callable[[], Any] | None = None
    after: str | None = None
    is_baseline: bool = False
    is_training: bool = False

    def seconds_after(self, spent: float) -> float:
        """Return the seconds of the whole piece if its judgment took `spent`: a training still has one run to go."""
        return spent * (1 + self.is_training / TRAINED_FOLDS)


@dataclasses.dataclass(frozen=True)
class Workshop:
    """What pieces are made with.

    Attributes:
        size: side of the images of networks with random weights. sizes: of the network in --init.
        speed: of the network with random weights. start_speed: of that in --init, at the smallest of `sizes`.
        fit_seconds: of one regression, per row and feature.
    """

    config: FitConfig
    photos: Photos
    linear: Linear
    trainings: Trainings
    size: int
    speed: Speed
    start: StartNetwork | None
    sizes: tuple[int, ...]
    start_speed: Speed | None
    fit_seconds: float

    @property
    def budget(self) -> float:
        """Return the seconds of all pieces together."""
        return self.config.minutes * 60

    def linear_piece(
        self,
        view: View,
        width: int = 0,
        speed: Speed | None = None,
        after: str | None = None,
        is_baseline: bool = False,
    ) -> Piece:
        """Return the piece of a regression on features.

        Args:
            view: the features; its network may be trained by `after`.
            width: number of features of the network. speed: of the network, None if `after` computes its features.
        """
        width += COLOR_BINS**3 * bool(view.colors)
        seconds = self.fit_seconds * FOLDS * len(CS) * len(self.photos.labeled) * width
        if speed:
            passes = (1 + view.is_mirrored) * len(self.linear.rows)
            seconds += speed.start + passes * speed.forward_at(view.size)

        def network(record, part):
            return self.linear.fitted(view, record["c"], self.trainings.training_rows(part)), view.size

        title = f"logistic regression on {view.title}"
        judge = functools.partial(self.linear.judge, view)
        return Piece(view.name, title, seconds, judge, network, None, after, is_baseline)

    def training_piece(
        self,
        name: str,
        title: str,
        mode: str,
        recipe: str,
        settings: Callable[[Any], dict] | dict,
        speed: Speed,
        share: str,
        epochs: tuple[int, int],
        images: int,
        after: str | None = None,
        is_baseline: bool = False,
        extra: float = 0.0,
    ) -> Piece:
        """Return the piece of a classifier that is trained as a whole.

        Args:
            settings: of the stage, or a function of the part of the data to them.
            share: of the minutes. epochs: the fewest and the most. images: of an epoch.
            extra: seconds per image beside a training step.
        """
        make = settings if callable(settings) else lambda part: settings
        per_epoch = images * (speed.training + extra)
        per_run = SHARES[share] * self.budget / (TRAINED_FOLDS + 1) - 2 * speed.start
        count = int(np.clip(per_run / per_epoch, *epochs))
        seconds = (TRAINED_FOLDS + 1) * (count * per_epoch + 2 * speed.start)
        name = f"{name}-{count}-epochs"  # more minutes make another training

        def run(part):
            flags = {"epochs": count, **make(part)}
            flags["warmup_epochs"] = min(2.0, count / 10)
            return self.trainings.run(name, mode, recipe, part, flags)

        def network(record, part):
            opened = open_run(run(part), flag="runs")
            return opened.model(), opened.image_size

        def judge():
            photos, trainings = self.photos, self.trainings
            scores = np.full((len(photos.labeled), len(photos.class_names)), np.nan)
            for fold in range(min(TRAINED_FOLDS, trainings.folds.max() + 1)):
                logits = outputs_of(*network({}, fold), photos, trainings.rows_of_fold(fold))
                scores[trainings.folds == fold] = log_softmax(logits, axis=1)
            # As regressions: photos whose class has no others are not judged.
            labels, groups = photos.labels[photos.labeled], photos.groups[photos.labeled]
            scores[~is_in_several_groups(labels, groups)] = np.nan
            return scores, {"epochs": count}

        title = f"{title}, {count} epochs"
        return Piece(name, title, seconds, judge, network, None, after, is_baseline, is_training=True)

    def pretraining_piece(
        self, name: str, title: str, recipe: str, settings: dict, speed: Speed, epochs: tuple[int, int]
    ) -> Piece:
        """Return the piece of a pretraining without labels, on all photos but the test images."""
        batch = min(64, self.images)
        per_epoch = 2 * self.images * speed.training  # two views
        count = int(np.clip(SHARES["pretraining"] * self.budget / per_epoch, *epochs))
        flags = {
            "epochs": count,
            "batch_size": batch,
            "color_strength": COLOR_STRENGTH,
            "warmup_epochs": min(5.0, count / 10),
            **settings,
        }
        name = f"{name}-{count}-epochs"
        return Piece(
            name,
            f"{title}, {count} epochs",
            count * per_epoch + 3 * speed.start,
            prepare=lambda: self.trainings.run(name, "pretrain", recipe, ALL, flags),
        )

    @property
    def speeds(self) -> list[tuple[str, Speed]]:
        """Return the names of the measured networks with their speeds."""
        own = [(self.config.model, self.speed)]
        return [*([(self.start.name, self.start_speed)] if self.start else []), *own]

    @property
    def images(self) -> int:
        """Return the number of photos that may be trained on, labeled or not."""
        return len(self.photos.labeled) + len(self.photos.unlabeled)

    @property
    def fewest_epochs(self) -> int:
        """Return the fewest epochs of a pretraining: 1 of many photos, 5 of few."""
        return max(1, min(5, 10_000 // self.images))

    @property
    def labels_per_epoch(self) -> int:
        """Return the images of an epoch on labels, at least one batch."""
        return max(len(self.photos.labeled), self.batch_size)

    @property
    def batch_size(self) -> int:
        """Return the images of a step on labels: few, as many steps of few labels learn more."""
        return int(min(32, max(len(self.photos.labeled), 2)))
