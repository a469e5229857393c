"""Small pictures of a source's images, which comparisons without a network are made of."""

import numpy as np

from simclr_keras.data import pipeline
from simclr_keras.evaluation.near_duplicates import THUMBNAIL_SIDE

_BATCH_SIZE = 256


def thumbnails_of(source, side: int = THUMBNAIL_SIDE) -> np.ndarray:
    """Return the images of a Source with the evaluation preprocessing and antialiasing, uint8 [n, side, side, 3].

    Without antialiasing, fine patterns make the photos of a burst differ more.

    Args:
        source: Source or StreamSource of n images. side: in pixels, at least 8.
    """
    settings = {"image_size": side, "batch_size": _BATCH_SIZE, "antialias": True}
    batches = pipeline.eval_batches(source, **settings) if len(source) else ()
    parts = [np.rint(255 * batch["image"].numpy()).astype(np.uint8) for batch in batches]
    return np.concatenate(parts) if parts else np.zeros([0, side, side, 3], np.uint8)
