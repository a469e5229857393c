"""Write a network as a LiteRT (TensorFlow Lite) model, float32 or int8, and compare it with the network."""

import tempfile
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from simclr_keras import packages
from simclr_keras.errors import InputError
from simclr_keras.export.endpoints import IMAGES, LOGITS, PROBABILITIES, SERVING
from simclr_keras.export.formats.comparison import (
    check_size,
    compare,
    pick_vectors,
    quietly,
    random_images,
    refuse,
    remove_on_failure,
)
from simclr_keras.export.formats.names import CLASS_NAMES, class_names_text

TOLERANCE = 1e-3  # as for ONNX, see onnx_file.py
# For int8: 1 - cosine similarity, which is 0.001 for networks trained on CIFAR-10.
INT8_TOLERANCE = 0.02
# Vectors of different images are similar; the difference from their mean distinguishes them. Trained networks keep a
# similarity of 0.99 and more in that; a network calibrated on meaningless images keeps none.
LEAST_ABOUT_MEAN = 0.8
MIN_SPREAD = 1 / 255  # of a pixel over the representative images
# Share of images that must keep their class. Networks trained on CIFAR-10 keep 0.92 to 1 at the same accuracy.
SAME_CLASS = 0.8
FEWEST_IMAGES = 16
BATCH = 16


def write_litert(
    model: Any,
    path: str,
    *,
    image_size: int,
    class_names: Sequence[str] | None = None,
    endpoints: Sequence[str] | None = None,
    representative: np.ndarray | None = None,
) -> dict:
    """Write the inference pass with its vectors: float32 `images` [n, s, s, 3] in [0, 1] -> final_avg_pool, ...

    The class names are packed into the file as LiteRT's tools pack labels: `zipfile` and the MetadataExtractor of
    Android read `class_names.txt` from it.

    n is 1 until the tensor `images` is resized; the runner of the signature serving_default resizes it. An int8 model
    takes and returns the same float32 arrays as the float one, so that an app needs the same code for both. Its weights
    and everything between input and outputs are 8-bit integers; it has logits in place of probabilities, which need
    more than 8 bits.

    Args:
        model: built float32 SimCLRModel. path: of the file; an existing file is replaced.
        image_size: s, side in pixels of the images it was trained on; the file takes only these.
        class_names: of the classifier, in its order; None if they are unknown.
        endpoints: names of the outputs to write; None for all vectors and the probabilities.
        representative: float32 images [n, s, s, 3] in [0, 1] as in the app, 16 or more, better 100, which calibrate
            the ranges of the 8 bits; None for a float32 model.

    Returns:
        dict of file, tolerance, difference, images, quantization and input, for the card. For float32 the difference is
        the largest over the vectors, in units of the largest value. For int8 it is 1 - the mean cosine similarity of
        the vectors on the representative images, of the worst endpoint. Also for int8: similarity_about_mean, the least
        such similarity after the mean of all images is subtracted; same_class, the share of the images that keep their
        class (None without a classifier); integer_only, whether nothing between is computed in float32.

    Raises:
        InputError: the package is missing, the representative images are wrong, or the weights are too large for one
            file.
        TrainingError: the network cannot be converted, or the outputs of the file differ; the file is removed.
    """
    if representative is not None:
        representative = _checked(representative, image_size)
    require_packages()
    check_size(model, "litert")
    with remove_on_failure(path) as path, quietly(path.name):
        pick = _picker(endpoints, is_int8=representative is not None)
        path.write_bytes(_converted(model, pick, image_size, representative))
        if class_names:
            with zipfile.ZipFile(path, "a") as archive:  # appended: the model stays where it is in the file
                archive.writestr(zipfile.ZipInfo(CLASS_NAMES), class_names_text(class_names))
        interpreter, run = _runner(path)
        if representative is None:
            batches = [random_images(1, image_size), random_images(3, image_size)]
            report = compare(lambda x: pick(model(x)), run, batches, TOLERANCE, path.name)
        else:
            report = _compare_int8(lambda x: pick(model(x)), run, representative, path.name)
            report["integer_only"] = _integer_only(interpreter)
    shape = {"name": IMAGES, "dtype": "float32", "shape": [None, image_size, image_size, 3], "range": [0, 1]}
    quantization = None if representative is None else "int8 inside, float32 input and outputs"
    return {"file": path.name, **report, "quantization": quantization, "input": shape}


def require_packages() -> None:
    """Raise InputError if ai-edge-litert is missing."""
    packages.require("ai_edge_litert.interpreter")


def _checked(images, size):
    """Return the representative images as float32.

    Raises:
        InputError: they are not as `write_litert` needs them.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1:] != (size, size, 3) or images.dtype.kind != "f":
        raise InputError(
            f"representative images must be float [n, {size}, {size}, 3] in [0, 1]. "
            f"Received: {images.dtype} {list(images.shape)}"
        )
    if len(images) < FEWEST_IMAGES:
        raise InputError(
            f"int8 needs {FEWEST_IMAGES} representative images or more, better 100. Received: {len(images)}"
        )
    if images.std(axis=0).max() < MIN_SPREAD:
        raise InputError("representative images are all the same; give images as in the app.")
    if not (images.min() >= 0 and images.max() <= 1):
        raise InputError(
            "representative images must have their pixels in [0, 1]: divide 8-bit ones by 255. "
            f"Received: {images.min():g} to {images.max():g}"
        )
    return images.astype(np.float32)


def _picker(endpoints, is_int8):
    """Return a function of the network's outputs to those of the file."""

    def pick(outputs):
        vectors = pick_vectors(outputs, endpoints)
        if is_int8 and vectors.pop(PROBABILITIES, None) is not None:
            vectors[LOGITS] = outputs[LOGITS]
        return vectors

    return pick


def _converted(model, pick, size, representative):
    """Return the bytes of the LiteRT model."""

    def call(images):
        return pick(model(images, training=False))

    spec = tf.TensorSpec([None, size, size, 3], tf.float32, name=IMAGES)
    function = tf.function(call, input_signature=[spec], autograph=False)
    # Through a SavedModel: from a function alone the converter writes variables without their values.
    module = tf.train.Checkpoint()
    module.variables = [variable.value for variable in model.variables]
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SERVING: function.get_concrete_function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SERVING])
        if representative is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.representative_dataset = lambda: (
                {IMAGES: image[np.newaxis]} for image in representative
            )
        return converter.convert()


def _runner(path):
    """Return the interpreter of a file, and a function of images to the dict of its outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=path.read_bytes())
    run = interpreter.get_signature_runner(SERVING)
    return interpreter, lambda images: run(**{IMAGES: images})


def _compare_int8(network, run, images, name):
    """Compare as `compare` does, by the angles between vectors and by the classes."""
    parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    pairs = [(network(part), run(part)) for part in parts]
    expected, vectors = (
        {key: np.concatenate([pair[i][key] for pair in pairs]) for key in pairs[0][0]} for i in (0, 1)
    )
    measure = "1 - mean cosine similarity with the network's vectors, on the representative images"
    return {**compare_int8(expected, vectors, name), "images": len(images), "measure": measure}


def compare_int8(expected: dict, vectors: dict, name: str) -> dict:
    """Compare the vectors of an int8 file with the network's, both dicts of endpoint to vectors [n, d].

    Returns:
        dict of tolerance, difference, similarity_about_mean and same_class, see `write_litert`.

    Raises:
        TrainingError: they differ too much.
    """
    similarity = {key: _cosine(expected[key], vectors[key]) for key in expected}
    about_mean = [_cosine(v - v.mean(axis=0), vectors[key] - v.mean(axis=0)) for key, v in expected.items()]
    worst = min(similarity, key=similarity.get)
    remedy = "give more representative images, or use the float model"
    if 1 - similarity[worst] > INT8_TOLERANCE:
        least = 1 - INT8_TOLERANCE
        refuse(
            name, f"{worst} is only {similarity[worst]:.3f} similar to the network's, not {least}; {remedy}"
        )
    if min(about_mean) < LEAST_ABOUT_MEAN:
        refuse(
            name,
            f"without their mean, vectors are only {min(about_mean):.2f} similar to the network's, not "
            f"{LEAST_ABOUT_MEAN}; "
            "give representative images as in the app, or use the float model",
        )
    same_class = None
    if LOGITS in expected:
        same_class = float(np.mean(expected[LOGITS].argmax(axis=-1) == vectors[LOGITS].argmax(axis=-1)))
        if same_class < SAME_CLASS:
            refuse(
                name, f"{same_class:.0%} of the images keep their class, less than {SAME_CLASS:.0%}; {remedy}"
            )
    return {
        "tolerance": INT8_TOLERANCE,
        "difference": 1 - similarity[worst],
        "similarity_about_mean": min(about_mean),
        "same_class": same_class,
    }


def _cosine(a, b):
    """Return the mean cosine similarity of vectors [n, d]; two zeros count 1, one zero or NaN 0."""
    lengths = np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1)
    product = np.sum(a * b, axis=-1) / np.maximum(lengths[0] * lengths[1], 1e-30)
    return float(np.mean(np.nan_to_num(np.where((lengths[0] == 0) & (lengths[1] == 0), 1.0, product))))


def _integer_only(interpreter):
    """Return whether no tensor but input and outputs has a floating type."""
    outer = {detail["index"] for detail in interpreter.get_input_details() + interpreter.get_output_details()}
    return not any(
        np.issubdtype(detail["dtype"], np.floating)
        for detail in interpreter.get_tensor_details()
        if detail["index"] not in outer
    )
