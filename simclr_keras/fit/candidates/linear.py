"""Logistic regression on features of a frozen network, judged by cross-validation; exported as one network."""

import dataclasses
import re

import numpy as np
import tensorflow as tf

from simclr_keras.evaluation.cross_validation import cross_validate, grouped_folds
from simclr_keras.evaluation.features import Extractor
from simclr_keras.evaluation.linear_probe import logistic_predict
from simclr_keras.fit.candidates.start_network import StartNetwork
from simclr_keras.fit.photos import Photos
from simclr_keras.fit.work_folder import WorkFolder
from simclr_keras.models.feature_stack import FeatureStack
from simclr_keras.models.simclr import SimCLRModel

FOLDS = 5
COLOR_BINS = 8
ROOTS = 0.5  # the power of the color histogram in candidates; the baseline is the histogram itself
CS = (1e-3, 1e-2, 1e-1, 1.0)  # inverse strengths of the penalty that are compared
BATCH = 16  # images


@dataclasses.dataclass(frozen=True)
class View:
    """Features of an image: those of a network, its colors, or both.

    Attributes:
        size: side in pixels of the images. start: the network, or None for colors alone.
        head_layer: of its projection head; 0 is the encoder's output.
        is_mirrored: whether they are the means over an image and its mirror image.
        colors: power of the shares of the color histogram among them, see `FeatureStack`; 0 for no colors.
    """

    size: int
    start: StartNetwork | None = None
    head_layer: int = 0
    is_mirrored: bool = False
    colors: float = 0.0

    @property
    def title(self) -> str:
        """Return the features in words."""
        parts = [self.start.name] if self.start else []
        if self.head_layer:
            parts[0] += f", layer {self.head_layer} of its projection head"
        if self.is_mirrored:
            parts[0] += " (mean over the image and its mirror image)"
        if self.colors:
            parts.append("the color histogram" if self.colors == 1 else "the roots of the color histogram")
        return f"{' + '.join(parts)}, {self.size} px"

    @property
    def name(self) -> str:
        """Return the same as the name of a file."""
        parts = [(self.start.path or self.start.name).rstrip("/").rpartition("/")[2]] if self.start else []
        parts += [f"layer{self.head_layer}"] * bool(self.head_layer) + ["mirrored"] * self.is_mirrored
        parts += [f"colors{self.colors:g}"] * bool(self.colors) + [str(self.size)]
        return re.sub(r"[^\w.-]+", "_", "-".join(parts))

    def model(self, num_classes: int) -> SimCLRModel:
        """Return the network of these features, with a new classifier on them, in float32."""
        if not (self.is_mirrored or self.colors):
            return self.start.model(self.size, num_classes, self.head_layer)
        encoder = self.start.model(self.size).encoder if self.start else None
        stack = FeatureStack(encoder, self.is_mirrored, COLOR_BINS * bool(self.colors), self.colors or 1.0)
        model = SimCLRModel(stack, num_classes=num_classes, proj_mode="none")
        model.build((None, self.size, self.size, 3))
        return model


class Linear:
    """Features of photos, kept in the work folder, and the regressions on them.

    Args:
        photos: Photos. work: WorkFolder. seed: of the folds.
        rows: of the photos whose features are needed for every candidate, ascending.
    """

    def __init__(self, photos: Photos, work: WorkFolder, seed: int, rows: np.ndarray) -> None:
        self.photos, self.work, self.seed, self.rows = photos, work, seed, rows

    def features(self, view: View) -> np.ndarray:
        """Return the features of `rows`, float32 [m, d], as `view.model` gives them."""
        if view.start and view.colors:
            without = dataclasses.replace(view, colors=0.0)
            colors = View(view.size, colors=view.colors)
            return np.concatenate([self.features(without), self.features(colors)], axis=1)
        endpoint = f"proj_head_{view.head_layer}"
        return self.work.array(
            f"features-{view.name}",
            lambda: outputs_of(view.model(2), view.size, self.photos, self.rows, endpoint),
        )

    def judge(self, view: View) -> tuple[np.ndarray, dict]:
        """Return cross-validated log-probabilities, float [m, classes], and a record with the best penalty.

        Rows of the labeled photos that are no test images; NaN if a photo cannot be judged, because its class has no
        other photos.
        """
        photos, classes = self.photos, len(self.photos.class_names)
        labels, groups = photos.labels[photos.labeled], photos.groups[photos.labeled]
        features = self.features(view)[np.isin(self.rows, photos.labeled)]
        trials = [
            cross_validate(features, labels, groups, num_classes=classes, folds=FOLDS, c=c, seed=self.seed)
            for c in CS
        ]
        right = [np.count_nonzero(trial.predicted == trial.labels) for trial in trials]
        best = int(np.argmax(right))  # the first of equals: the strongest penalty
        is_judged = (trials[best].labels >= 0)[:, None]
        return np.where(is_judged, np.maximum(trials[best].scores, -100), np.nan), {"c": CS[best]}

    def folds(self) -> np.ndarray:
        """Return the fold of every labeled photo that is no test image, int64 [m]; the same for all candidates."""
        photos = self.photos
        return grouped_folds(photos.labels[photos.labeled], photos.groups[photos.labeled], FOLDS, self.seed)

    def fitted(self, view: View, c: float, train: np.ndarray) -> SimCLRModel:
        """Return the network of a view with the regression on these rows of the photos as its classifier."""
        classes, features = len(self.photos.class_names), self.features(view)[np.isin(self.rows, train)]
        regression = logistic_predict(
            features, self.photos.labels[train], features[:0], num_classes=classes, c=c
        )
        model = view.model(classes)
        model.classifier.kernel.assign(regression.kernel)
        model.classifier.bias.assign(regression.bias)
        return model


def extractor_of(model: SimCLRModel, size: int, endpoint: str = "logits") -> Extractor:
    """Return the Extractor of an endpoint of a network in float32."""
    strategy = tf.distribute.get_strategy()
    return Extractor(model, strategy, image_size=size, batch_size=BATCH, endpoints=(endpoint,))


def outputs_of(
    model: SimCLRModel, size: int, photos: Photos, rows: np.ndarray, endpoint: str = "logits"
) -> np.ndarray:
    """Return an endpoint of a network for some photos, float32 [m, d].

    Args:
        model: in float32. size: side of the images. rows: of the photos, ascending.
    """
    extractor = extractor_of(model, size, endpoint)
    return np.concatenate([extractor(source)[endpoint] for source in photos.images.rows(rows)])
