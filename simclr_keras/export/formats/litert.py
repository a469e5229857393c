"""Writes a network as a LiteRT (TensorFlow Lite) model, float32 or int8, and runs it before it is let out."""

import tempfile

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.export.endpoints import IMAGES, LOGITS, SERVING
from simclr_keras.export.formats.comparison import (
    check_size,
    compare,
    kept_if_good,
    pick_vectors,
    quietly,
    random_images,
    refuse,
    require,
    vectors_of,
)

PACKAGES = ("ai_edge_litert.interpreter",)
TOLERANCE = 1e-3  # as for ONNX, see there
# Of int8: 1 - cosine similarity, 0.001 for networks trained on CIFAR-10; and the share of images that must keep their
# class, 0.92 to 1 there at the same accuracy: what is in doubt between two classes may go either way.
INT8_TOLERANCE = 0.02
# Vectors of unlike images have much in common. What tells them apart is in how they differ from their mean: in that
# trained networks keep a similarity of 0.99 and more, and one that was scaled by images of nothing keeps none.
LEAST_ABOUT_MEAN = 0.8
ALIKE = 1 / 255  # images that differ by less in every pixel
SAME_CLASS = 0.8
FEWEST_IMAGES = 16
BATCH = 16


def write_litert(model, path, *, image_size, representative=None):
    """Writes the inference pass with all vectors: float32 `images` [n, s, s, 3] in [0, 1] -> final_avg_pool, ...

    n is 1 until the tensor `images` is resized, which the runner of the signature serving_default does by itself. An
    int8 model takes and gives the same float32 arrays as the float one and quantizes inside, so that an app needs the
    same code for both; its weights and everything between input and outputs are 8-bit integers.

    Args:
        model: built float32 SimCLRModel. path: of the file; one that is there is replaced.
        image_size: s, side in pixels of the images it was trained on; the file takes no others.
        representative: float32 images [n, s, s, 3] in [0, 1] such as the app will see, 16 or more, better 100, which
            tell what ranges the 8 bits must cover; None for a float32 model.

    Returns:
        dict of file, tolerance, difference, images, quantization and input, for the card. For float32 the difference is
        the largest over the vectors, in units of the largest value. For int8 it is 1 - the mean cosine similarity of an
        endpoint's vectors on the representative images, where that is worst, and similarity_about_mean the least such
        similarity when the mean of all images is taken off, as vectors of unlike images may have much in common;
        same_class is the share of the images whose class stays (None without a classifier), integer_only whether
        nothing in between is computed in float32.

    Raises:
        InputError: the package is missing, the representative images will not do, or the weights do not go into one
            file.
        TrainingError: the network cannot be converted, or the file gives other numbers than it; the file is removed.
    """
    if representative is not None:
        representative = _checked(representative, image_size)
    require_packages()
    check_size(model, "litert")
    with kept_if_good(path) as path, quietly(path.name):
        path.write_bytes(_converted(model, image_size, representative))
        interpreter, run = _runner(path)
        if representative is None:
            batches = [random_images(1, image_size), random_images(3, image_size)]
            found = compare(lambda images: pick_vectors(model, images), run, batches, TOLERANCE, path.name)
        else:
            found = _compare_int8(model, run, representative, path.name)
            found["integer_only"] = _integer_only(interpreter)
    shape = {"name": IMAGES, "dtype": "float32", "shape": [None, image_size, image_size, 3], "range": [0, 1]}
    quantization = None if representative is None else "int8 inside, float32 input and outputs"
    return {"file": path.name, **found, "quantization": quantization, "input": shape}


def require_packages():
    """Raises InputError where ai-edge-litert is missing."""
    require("litert", PACKAGES)


def _checked(images, size):
    """The representative images as float32.

    Raises:
        InputError: they are not what `write_litert` says.
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
    if images.std(axis=0).max() < ALIKE:
        raise InputError("representative images are all alike; give such as the app will see.")
    if not (images.min() >= 0 and images.max() <= 1):
        raise InputError(
            "representative images must have their pixels in [0, 1]: divide 8-bit ones by 255. "
            f"Received: {images.min():g} to {images.max():g}"
        )
    return images.astype(np.float32)


def _converted(model, size, representative):
    """The bytes of the LiteRT model."""
    function = vectors_of(model, size)
    # By way of a SavedModel: of a function alone the converter writes variables without their values.
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
    """The interpreter of a file, and a function of images to the dict of what it makes of them."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=path.read_bytes())
    run = interpreter.get_signature_runner(SERVING)
    return interpreter, lambda images: run(**{IMAGES: images})


def _compare_int8(model, run, images, what):
    """As `compare`, on these images, by the angles between vectors and by the classes."""
    parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    pairs = [(pick_vectors(model, part), run(part)) for part in parts]
    expected, found = (
        {name: np.concatenate([pair[i][name] for pair in pairs]) for name in pairs[0][0]} for i in (0, 1)
    )
    measure = "1 - mean cosine similarity with the network's vectors, on the representative images"
    return {**hold_int8(expected, found, what), "images": len(images), "measure": measure}


def hold_int8(expected, found, what):
    """Holds the vectors of an int8 file against the network's.

    Args:
        expected, found: dicts of endpoint to vectors [n, d]. what: the file, for messages.

    Returns:
        dict of tolerance, difference, similarity_about_mean and same_class, see `write_litert`.

    Raises:
        TrainingError: too many are too unlike.
    """
    similarity = {name: _cosine(expected[name], found[name]) for name in expected}
    about_mean = [_cosine(v - v.mean(axis=0), found[name] - v.mean(axis=0)) for name, v in expected.items()]
    worst = min(similarity, key=similarity.get)
    remedy = "give more representative images, or use the float model"
    if 1 - similarity[worst] > INT8_TOLERANCE:
        least = 1 - INT8_TOLERANCE
        refuse(
            what, f"{worst} is only {similarity[worst]:.3f} similar to the network's, not {least}; {remedy}"
        )
    if min(about_mean) < LEAST_ABOUT_MEAN:
        refuse(
            what,
            f"what tells images apart is only {min(about_mean):.2f} similar to the network's, not {LEAST_ABOUT_MEAN}; "
            "give representative images such as the app will see, or use the float model",
        )
    same_class = None
    if LOGITS in expected:
        same_class = float(np.mean(expected[LOGITS].argmax(axis=-1) == found[LOGITS].argmax(axis=-1)))
        if same_class < SAME_CLASS:
            refuse(
                what, f"{same_class:.0%} of the images keep their class, less than {SAME_CLASS:.0%}; {remedy}"
            )
    return {
        "tolerance": INT8_TOLERANCE,
        "difference": 1 - similarity[worst],
        "similarity_about_mean": min(about_mean),
        "same_class": same_class,
    }


def _cosine(a, b):
    """The mean cosine similarity of vectors [n, d]; 1 for two zeros, 0 for one, and for what is not finite."""
    lengths = np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1)
    product = np.sum(a * b, axis=-1) / np.maximum(lengths[0] * lengths[1], 1e-30)
    return float(np.mean(np.nan_to_num(np.where((lengths[0] == 0) & (lengths[1] == 0), 1.0, product))))


def _integer_only(interpreter):
    """Whether no tensor but input and outputs is of a floating type."""
    outer = {detail["index"] for detail in interpreter.get_input_details() + interpreter.get_output_details()}
    return not any(
        np.issubdtype(detail["dtype"], np.floating)
        for detail in interpreter.get_tensor_details()
        if detail["index"] not in outer
    )
