"""Write a network as a .keras file, which keras.models.load_model loads as it was, to use or to train."""

import keras

from simclr_keras.export.formats.comparison import compare, quietly, random_images, remove_on_failure

# In units of the largest value of an endpoint; the same weights in the same code give 0 on one machine.
TOLERANCE = 1e-5
ANY_SIZE = 32  # side in pixels of the compared images, if the encoder takes any


def write_keras(model: keras.Model, path: str) -> dict:
    """Write the whole network: `keras.models.load_model(path)`, after `from simclr_keras import SimCLRModel`.

    Args:
        model: built float32 SimCLRModel. path: of the file, ending in .keras; an existing file is replaced.

    Returns:
        dict of file, tolerance, difference (the largest over all endpoints, feature maps included, in units of the
        largest value) and images, for the card.

    Raises:
        TrainingError: the loaded network differs; the file is removed.
    """
    with remove_on_failure(path) as path:
        with quietly(path.name):
            model.save(path)
            loaded = keras.models.load_model(path, compile=False)
        images = random_images(2, model.fixed_size or ANY_SIZE)
        return {"file": path.name, **compare(model, loaded, [images], TOLERANCE, path.name)}
