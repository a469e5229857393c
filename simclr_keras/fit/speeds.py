"""The speed of this machine, measured on a few images: what the plan's times come from."""

import dataclasses
import time

import keras
import numpy as np
import tensorflow as tf

from simclr_keras.fit.candidates.linear import BATCH, extractor_of
from simclr_keras.fit.candidates.start_network import StartNetwork
from simclr_keras.fit.photos import Photos
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.models.zoo import create_model
from simclr_keras.objectives.classification import Classifier
from simclr_keras.training.engine.strategy import resolve_precision

TRAINED = 32  # images of the training step that is measured, as in trainings; 8 if the network is a large one
REPEATED = 3  # training steps, of which the quickest counts


@dataclasses.dataclass(frozen=True)
class Speed:
    """Seconds per image of a network.

    Attributes:
        size: side in pixels of the images that were measured.
        forward: seconds to read an image and compute its features. training: seconds of a training step.
        start: seconds until a network is built and traced.
    """

    size: int
    forward: float
    training: float
    start: float

    def forward_at(self, size: int) -> float:
        """Return the seconds of an image of another size: they grow with its area."""
        return self.forward * (size / self.size) ** 2


def measure(photos: Photos, size: int, start: StartNetwork) -> Speed:
    """Return the Speed of a network. size: side of the images in pixels."""
    started = time.perf_counter()
    network = start.model(size, 2)
    rows = photos.labeled[: 3 * BATCH]
    (source, *_) = photos.images.rows(rows)
    extractor = extractor_of(network, size)
    extractor(source.subset([0]))
    traced = time.perf_counter()
    extractor(source.subset(np.arange(min(len(source), BATCH))))
    one = time.perf_counter()
    extractor(source)
    several = time.perf_counter()
    # Without the start of the pipeline, which a measurement of one batch includes. The last batch is padded.
    batches = -(-len(source) // BATCH)
    forward = (one - traced) / BATCH
    if batches > 1:
        slope = ((several - one) - (one - traced)) / (BATCH * (batches - 1))
        forward = float(np.clip(slope, forward / 10, forward))
    training, tracing = _training(start.model_name, size)
    return Speed(size, forward, forward + training, traced - started + tracing)


def _training(model, size):
    """Return (seconds of a training step per image, seconds until it is traced)."""
    policy = resolve_precision("auto", tf.distribute.get_strategy())
    network = create_model(model, 2, proj_mode="none", image_size=size, dtype=policy)
    learner = Classifier(network)
    learner.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    step = tf.function(learner.train_step, autograph=False)
    count = TRAINED // 4 if is_backbone(model) else TRAINED
    batch = {
        "views": tf.zeros([count, 1, size, size, 3]),
        "label": tf.constant(np.arange(count) % 2, tf.int32),
        "id": tf.range(count),
    }

    def seconds():
        started = time.perf_counter()
        step(batch)
        float(learner.averages["loss"].result())  # waits for the device
        return time.perf_counter() - started

    tracing = seconds()
    return min(seconds() for _ in range(REPEATED)) / count, tracing
