"""What is measured before the plan: the size of the photos, the folds, and the speed of this machine."""

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from simclr_keras.config.fit import FitConfig
from simclr_keras.fit.candidates.linear import CS, FOLDS, Linear, View
from simclr_keras.fit.candidates.pieces import Workshop
from simclr_keras.fit.candidates.start_network import StartNetwork
from simclr_keras.fit.candidates.trainings import Trainings
from simclr_keras.fit.photos import Photos
from simclr_keras.fit.speeds import Speed, measure
from simclr_keras.fit.work_folder import WorkFolder
from simclr_keras.preprocess import decode

SIZE = 96  # pixels of the images of networks with random weights
SAMPLED = 50  # photos whose size is read


def make_workshop(
    config: FitConfig, photos: Photos, work: WorkFolder, start: StartNetwork | None, say: Callable
) -> Workshop:
    """Return the Workshop; what is measured is kept, so that a repeated command makes the same plan."""
    native = work.record("native_size", lambda: {"pixels": _native_size(photos)})["pixels"]
    size = config.image_size or min(SIZE, native)
    sizes = start.sizes(native, config.image_size) if start else ()
    rows = np.sort(np.concatenate([photos.labeled, photos.test]))
    linear = Linear(photos, work, config.seed, rows)
    colors = View(size, colors=1.0)
    folds = linear.folds()

    def regression():
        say("speed    measuring on a few images")
        linear.features(colors)  # reads the photos
        started = time.monotonic()
        linear.judge(colors)
        seconds = time.monotonic() - started
        return {
            "seconds": seconds / (FOLDS * len(CS) * len(photos.labeled) * linear.features(colors).shape[1])
        }

    # One by one, so that a kill loses little.
    seconds = work.record("speed-regression", regression)["seconds"]
    own = StartNetwork(config.model)
    speed = Speed(**work.record("speed-model", lambda: vars(measure(photos, size, own))))
    start_speed = None
    if start:
        start_speed = Speed(**work.record("speed-start", lambda: vars(measure(photos, sizes[0], start))))
    trainings = Trainings(config, photos, work, folds, say)
    return Workshop(config, photos, linear, trainings, size, speed, start, sizes, start_speed, seconds)


def _native_size(photos):
    """Return the side in pixels that three quarters of the photos have at least."""
    (source, *_) = photos.images.rows(photos.labeled[:SAMPLED])
    files = tf.data.Dataset.range(len(source)).map(source.fetch)
    sides = [min(image.shape[:2]) for image in files.map(decode).as_numpy_iterator()]
    return max(int(np.percentile(sides, 25)), 8)
