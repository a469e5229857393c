"""Any model that a command may be given, behind one interface: a run directory, an export, a .keras file."""

import dataclasses
import hashlib
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.export.endpoints import ENCODER, LOGITS, REPRESENTATION
from simclr_keras.export.formats.names import KERAS_FILE, LITERT_FILE, ONNX_FILE
from simclr_keras.export.loading import exported as loading
from simclr_keras.export.loading import locate
from simclr_keras.runs.open_run import open_run
from simclr_keras.runs.run_dir import CONFIG, RunDir

_OTHER_FORMATS = {LITERT_FILE: "LiteRT", ONNX_FILE: "ONNX"}


@dataclasses.dataclass(frozen=True)
class AnyModel:
    """A model that is only run.

    Attributes:
        path: as the user gave it. kind: "run", "export" or ".keras file".
        shapes: dict of endpoint to its tf.TensorShape; the representation is called encoder.
        call: function of images float32 [n, h, w, 3] in [0, 1] and the name of an endpoint to a float32 tensor.
        image_size: side in pixels of the images it was trained on, None where there is no telling.
        fixed_size: the same where it takes no others, else None.
        class_names: tuple of the names of the classes that logits are of, or None.
        fingerprint: hexadecimal digest of its weights.
        flag: name of the one that gave it, for messages.
        holder: what holds its variables, which TensorFlow's traced functions do not.
    """

    path: str
    kind: str
    shapes: dict
    call: Callable
    image_size: int | None
    fixed_size: int | None
    class_names: tuple | None
    fingerprint: str
    flag: str
    holder: object

    @property
    def vectors(self):
        """Names of the endpoints that give a vector for each image."""
        return [name for name, shape in self.shapes.items() if shape.rank in (None, 2)]

    def find(self, endpoint=None):
        """The name in `shapes` of the endpoint asked for; None asks for the representation.

        Raises:
            InputError: there is none; names those that there are.
        """
        if endpoint in self.shapes:
            return endpoint
        if endpoint in (None, REPRESENTATION) and ENCODER in self.shapes:
            return ENCODER
        if endpoint is None and len(self.vectors) == 1:
            return self.vectors[0]
        has = ", ".join(self.shapes)
        if endpoint is None:
            raise InputError(
                f"--{self.flag}={self.path} has no endpoint {ENCODER}; choose an --endpoint of {has}."
            )
        if endpoint == LOGITS:
            raise InputError(
                f"--{self.flag}={self.path} has no classifier: no endpoint {LOGITS}, only {', '.join(self.vectors)}; "
                "give a fine-tuned or distilled network."
            )
        raise InputError(f"--{self.flag}={self.path} has no endpoint {endpoint}; it has {has}.")

    def size(self, asked=None):
        """The side in pixels of the images to show it: the one asked for, else the one it was trained on.

        Raises:
            InputError: it takes no images of that size, or there is no telling.
        """
        if asked is not None and self.fixed_size not in (None, asked):
            raise InputError(
                f"--image_size={asked}: {self.path} takes images of {self.fixed_size} pixels alone; leave it out."
            )
        if asked is None and self.image_size is None:
            raise InputError(
                f"--{self.flag}={self.path} does not say for which images it was trained; give --image_size."
            )
        return asked or self.image_size

    def names_of(self, count):
        """Tuple of the names of `count` classes: its own, or their numbers where it has no such names."""
        names = self.class_names
        return names if names is not None and len(names) == count else tuple(str(i) for i in range(count))


def open_model(path, flag="model"):
    """Opens a run directory, the folder of an export, a .keras file or a TF-Hub handle.

    Args:
        path: of it. flag: name of the one that gave it, for messages.

    Raises:
        InputError: one line: there is none, or it cannot be loaded.
    """
    path = str(path)
    if not path:
        raise InputError(
            f"--{flag} is empty; give a run directory, an export, a .keras file or a TF-Hub handle."
        )
    if locate.is_hub_handle(path):
        return _of_export(path, flag)
    run_dir = RunDir(path, flag)
    try:
        if not tf.io.gfile.exists(path):
            raise InputError(
                f"--{flag}={path}: there is no such file or folder; give a run directory, an export, a .keras file or "
                "a TF-Hub handle (https://...)."
            )
        if not tf.io.gfile.isdir(path):
            if not path.endswith(".keras"):
                raise InputError(f"--{flag}={path} is a file, but no .keras file; give that, or a folder.")
            return _of_keras_file(path, path, flag)
        if locate.is_export(path):
            return _of_export(path, flag)
        if run_dir.has(KERAS_FILE):
            return _of_keras_file(path, run_dir.file(KERAS_FILE), flag)
        if run_dir.has(CONFIG):
            return _of_run(path, flag)
        other = next((kind for name, kind in _OTHER_FORMATS.items() if run_dir.has(name)), None)
    except tf.errors.OpError as error:
        raise InputError(f"--{flag}={path} cannot be looked at ({one_line(error)}); give another.") from error
    if other:
        raise InputError(f"--{flag}={path} is an export to {other}; give one to SavedModel or Keras.")
    raise InputError(
        f"--{flag}={path} is neither a run directory (it has no {CONFIG}) nor an export (no saved_model.pb, no "
        f"{KERAS_FILE}); give one of these."
    )


def _of_run(path, flag):
    run = open_run(path, flag=flag)
    return _of_keras(path, "run", run.model(), run.image_size, run.class_names, flag)


def _of_export(path, flag):
    exported = loading.open_export(path, flag)
    shapes = {name: exported.shape(name) for name in (*exported.endpoints, *exported.maps)}
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(
        tf.io.gfile.glob([f"{exported.path}/saved_model.pb*", f"{exported.path}/variables/*"])
    ):
        _add_file(digest, file)
    return AnyModel(
        path,
        "export",
        {name: shape for name, shape in shapes.items() if shape.rank in (None, 2, 4)},
        exported,
        exported.image_size,
        exported.fixed_size,
        exported.class_names,
        digest.hexdigest(),
        flag,
        exported,
    )


def _of_keras_file(path, file, flag):
    import keras

    # Layers of ours that a file may hold are known to Keras once their modules are imported.
    from simclr_keras.export.loading import hub_layer  # noqa: F401
    from simclr_keras.models import simclr  # noqa: F401

    card = loading.read_card(os.path.dirname(file) or ".", flag) or {}  # of an export, beside the file
    try:
        model = keras.saving.load_model(file, compile=False)
    except Exception as error:  # a file may hold anything
        raise InputError(
            f"{file} cannot be loaded ({one_line(error)}); save it anew, or give another."
        ) from error
    names = card.get("class_names")
    return _of_keras(path, ".keras file", model, card.get("image_size"), names and tuple(names), flag)


def _of_keras(path, kind, model, image_size, class_names, flag):
    fixed = _fixed_size(model)

    @tf.function(autograph=False)
    def outputs(images):
        found = model(images, training=False)
        found = found if isinstance(found, dict) else {"output": found}
        return {name: tf.cast(value, tf.float32) for name, value in found.items()}

    try:
        # Traced once for any number and size of images. Of its outputs TensorFlow computes those that are used.
        traced = outputs.get_concrete_function(tf.TensorSpec([None, fixed, fixed, 3], tf.float32))
    except Exception as error:  # of a model that wants something else than images
        raise InputError(f"--{flag}={path} does not take images [n, h, w, 3]: {one_line(error)}.") from error
    shapes = {name: found.shape for name, found in traced.structured_outputs.items()}
    if REPRESENTATION in shapes:
        # Also called proj_head_0, the representation is told once and first.
        shapes = {ENCODER: shapes.pop(REPRESENTATION), **shapes}
    key = {ENCODER: REPRESENTATION} if ENCODER not in traced.structured_outputs else {}

    @tf.function(autograph=False)
    def call(images, endpoint):
        return traced(images)[key.get(endpoint, endpoint)]

    digest = hashlib.blake2b(digest_size=16)
    for variable in model.variables:
        digest.update(np.ascontiguousarray(variable.numpy()).data)
    size = image_size or fixed
    return AnyModel(path, kind, shapes, call, size, fixed, class_names, digest.hexdigest(), flag, model)


def _fixed_size(model):
    """The one size of images that a Keras model takes, or None."""
    size = getattr(model, "fixed_size", None)
    shape = getattr(model, "input_shape", None) if size is None else None
    if isinstance(shape, tuple) and len(shape) == 4 and shape[1] == shape[2]:
        size = shape[1]
    return size


def _add_file(digest, path):
    with tf.io.gfile.GFile(path, "rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
