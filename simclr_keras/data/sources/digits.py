"""The dataset "digits": scikit-learn's 1,797 hand-written digits, 8 x 8, embedded in that package."""

import importlib.util

import numpy as np

from simclr_keras.data.sources.source import ArrayStore, RowIds, Source, Splits


def load_digits() -> Splits:
    """Return the digits as training images; gray levels 0-16 become 0-255 in three equal channels."""
    # From the package's file: importing scikit-learn takes longer than a second.
    (package,) = importlib.util.find_spec("sklearn").submodule_search_locations
    table = np.loadtxt(f"{package}/datasets/data/digits.csv.gz", delimiter=",")
    gray = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = np.repeat(gray[..., None], 3, axis=-1)
    class_names = tuple(map(str, range(10)))
    source = Source(
        "digits", ArrayStore(images), RowIds("train", len(images)), table[:, -1].astype(int), class_names
    )
    return Splits(source, class_names=class_names)
