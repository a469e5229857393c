"""The dataset "digits": scikit-learn's 1,797 hand-written digits, 8 x 8, embedded in that package."""

import numpy as np

from simclr_keras.data.sources.source import ArrayStore, RowIds, Source, Splits


def load_digits() -> Splits:
    """Return the digits as training images; gray levels 0-16 become 0-255 in three equal channels."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    gray = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(gray[..., None], 3, axis=-1)
    class_names = tuple(str(name) for name in bunch.target_names)
    source = Source("digits", ArrayStore(images), RowIds("train", len(images)), bunch.target, class_names)
    return Splits(source, class_names=class_names)
