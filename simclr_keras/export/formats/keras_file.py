"""Writes a network as a .keras file, which keras.models.load_model gives back as it was, to train on or to use."""

import keras

from simclr_keras.export.formats.comparison import compare, kept_if_good, quietly, random_images

TOLERANCE = (
    1e-5  # of the largest value of an endpoint; the same weights in the same code give 0 on one machine
)
ANY_SIZE = 32  # images to compare by, in pixels, where the encoder takes any


def write_keras(model, path):
    """Writes the whole network: `keras.models.load_model(path)`, after `from simclr_keras import SimCLRModel`.

    Args:
        model: built float32 SimCLRModel. path: of the file, ending in .keras; a file that is there is replaced.

    Returns:
        dict of file, tolerance, difference (the largest over all endpoints, feature maps included, in units of the
        largest value) and images, for the card.

    Raises:
        TrainingError: what is loaded back differs from the network; the file is removed.
    """
    with kept_if_good(path) as path:
        with quietly(path.name):
            model.save(path)
            loaded = keras.models.load_model(path, compile=False)
        size = model.fixed_size or ANY_SIZE
        return {"file": path.name, **compare(model, loaded, [random_images(2, size)], TOLERANCE, path.name)}
