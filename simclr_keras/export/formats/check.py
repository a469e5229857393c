"""Loads back a SavedModel that was just written, and holds it against the network it came from."""

import numpy as np
import tensorflow as tf

from simclr_keras.errors import TrainingError

TOLERANCE = 1e-5  # of the largest value of an endpoint
IMAGES = 2


def check_saved_model(path, model, image_size, signatures):
    """Runs every signature and `__call__` of a SavedModel on random images.

    Args:
        path: of the SavedModel. model: the float32 SimCLRModel. image_size: side of the images, in pixels.
        signatures: dict of signature to endpoint.

    Returns:
        dict of tolerance, difference (the largest over all endpoints) and images, for the card.

    Raises:
        TrainingError: an endpoint or a weight differs.
    """
    loaded = tf.saved_model.load(path)
    images = np.random.default_rng(0).uniform(size=(IMAGES, image_size, image_size, 3)).astype(np.float32)
    # As a graph too: there TensorFlow joins convolutions and normalizations, which rounds otherwise than eagerly.
    graph = tf.function(lambda batch: model(batch, training=False), autograph=False)
    expected = {name: value.numpy() for name, value in graph(tf.constant(images)).items()}
    called = loaded(tf.constant(images), training=False)
    differences = {name: difference(called.get(name), value) for name, value in expected.items()}
    for signature, endpoint in signatures.items():
        found = loaded.signatures[signature](images=tf.constant(images))
        differences[f"signature {signature}"] = difference(found.get(endpoint), expected[endpoint])
    weights = zip(loaded.variables, (v.value for v in model.variables))
    if len(loaded.variables) != len(model.variables) or not all(_same(a, b) for a, b in weights):
        raise TrainingError("the SavedModel does not hold the weights of the network; nothing is kept of it.")
    worst = max(differences, key=differences.get)
    if not differences[worst] <= TOLERANCE:
        raise TrainingError(
            f"{worst} of the SavedModel is {differences[worst]:.1e} from the network's, more than {TOLERANCE}; nothing "
            "is kept of it."
        )
    return {"tolerance": TOLERANCE, "difference": differences[worst], "images": IMAGES}


def difference(found, expected):
    """The largest difference of two arrays, in units of the largest value; infinite where one is missing or NaN."""
    if found is None or tuple(found.shape) != expected.shape:
        return np.inf
    gap = float(np.max(np.abs(np.asarray(found, np.float64) - expected), initial=0))
    return gap / max(float(np.max(np.abs(expected), initial=0)), 1e-30) if np.isfinite(gap) else np.inf


def _same(stored, variable):
    return stored.shape == variable.shape and np.array_equal(stored.numpy(), variable.numpy())
