"""Any model that a command takes, behind one interface: a run directory, an export, a .keras file."""

import dataclasses
import hashlib
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.export.card import is_antialiased, read_card, read_class_names
from simclr_keras.export.endpoints import ENCODER, LOGITS, REPRESENTATION
from simclr_keras.export.formats.names import KERAS_FILE, LITERT_FILE, ONNX_FILE
from simclr_keras.export.loading.find_saved_model import is_hub_handle, is_saved_model
from simclr_keras.export.loading.loaded_model import LOGITS_NAMES, load_saved_model
from simclr_keras.files import expand_home
from simclr_keras.interop.open_source import is_address, open_source
from simclr_keras.runs.run_files import CONFIG, RunFiles

_OTHER_FORMATS = {LITERT_FILE: "LiteRT", ONNX_FILE: "ONNX"}


@dataclasses.dataclass(frozen=True)
class AnyModel:
    """A LoadedModel or a Keras model in inference mode, with the rules of the commands for endpoints and sizes.

    A dataclass of plain values, because a Keras model has no signatures to load: only a callable is common to both.

    Attributes:
        path: as the user gave it.
        shapes: dict of endpoint to its tf.TensorShape; the representation is called encoder.
        call: function of images float32 [n, h, w, 3] in [0, 1] and the name of an endpoint to a float32 tensor.
        image_size: side in pixels of the images it was trained on, or None if unknown.
        fixed_size: side in pixels of the only images it takes, or None if it takes several sizes.
        class_names: tuple of the names of the classes of its logits, or None.
        fingerprint: hexadecimal digest of its weights.
        antialias: whether its images are antialiased when they shrink.
    """

    path: str
    shapes: dict[str, tf.TensorShape]
    call: Callable
    image_size: int | None
    fixed_size: int | None
    class_names: tuple[str, ...] | None
    fingerprint: str
    antialias: bool = False

    @property
    def vectors(self) -> list[str]:
        """Names of the endpoints that return one vector per image."""
        return [name for name, shape in self.shapes.items() if shape.rank in (None, 2)]

    def find(self, endpoint: str | None = None) -> str:
        """Return the name in `shapes` of an endpoint; None asks for the representation.

        Raises:
            InputError: there is no such endpoint.
        """
        if endpoint in self.shapes:
            return endpoint
        if endpoint in (None, REPRESENTATION) and ENCODER in self.shapes:
            return ENCODER
        if endpoint is None and len(self.vectors) == 1:
            return self.vectors[0]
        names = ", ".join(self.shapes)
        if endpoint is None:
            raise InputError(f"--model={self.path} has no endpoint {ENCODER}; give an --endpoint of {names}.")
        if endpoint == LOGITS:
            if other := next((name for name in LOGITS_NAMES if name in self.shapes), None):
                return other
            raise InputError(
                f"--model={self.path} has no classifier: no endpoint {LOGITS}, only {', '.join(self.vectors)}; "
                "give a fine-tuned or distilled network, or a run of simclr linear_eval."
            )
        raise InputError(f"--model={self.path} has no endpoint {endpoint}; it has {names}.")

    def size(self, image_size: int | None = None) -> int:
        """Return the side in pixels of its images: `image_size`, or if that is None the size it was trained on.

        Raises:
            InputError: it does not take images of that size, or the size it was trained on is unknown.
        """
        if image_size is not None and self.fixed_size not in (None, image_size):
            raise InputError(
                f"--image_size={image_size}: {self.path} takes only images of {self.fixed_size} pixels; leave "
                "--image_size out."
            )
        if image_size is None and self.image_size is None:
            raise InputError(
                f"--model={self.path}: the image size it was trained on is unknown; give --image_size."
            )
        return image_size or self.image_size

    def names_of(self, count: int) -> tuple[str, ...]:
        """Return the names of `count` classes: its own, or numbers if it has no such names."""
        names = self.class_names
        return names if names is not None and len(names) == count else tuple(str(i) for i in range(count))


def open_model(path: str, use_ema: bool = False) -> AnyModel:
    """Open a run directory or what stands for it, the folder of an export, a .keras file or a TF-Hub handle.

    With `use_ema`, the momentum network of a run directory is taken.

    Raises:
        InputError: there is no model, or it cannot be loaded.
    """
    path = expand_home(path)
    if not path:
        raise InputError(
            "--model is empty; give a run directory, an export, a .keras file or a TF-Hub handle."
        )
    if is_address(path):
        return _of_run(path, use_ema)
    if is_hub_handle(path):
        _check_no_ema(path, use_ema)
        return _of_export(path)
    run_dir = RunFiles(path, "model")
    try:
        if not tf.io.gfile.exists(path):
            raise InputError(
                f"--model={path}: no such file or directory; give a run directory, an export, a .keras file or "
                "a TF-Hub handle (https://...)."
            )
        if use_ema and tf.io.gfile.isdir(path) and run_dir.has(CONFIG):
            return _of_run(path, use_ema)
        _check_no_ema(path, use_ema)
        if not tf.io.gfile.isdir(path):
            if not path.endswith(".keras"):
                raise InputError(f"--model={path} is not a .keras file; give a .keras file, or a folder.")
            return _of_keras_file(path, path)
        if is_saved_model(path):
            return _of_export(path)
        if run_dir.has(KERAS_FILE):
            return _of_keras_file(path, run_dir.file(KERAS_FILE))
        if run_dir.has(CONFIG):
            return _of_run(path)
        other = next((kind for name, kind in _OTHER_FORMATS.items() if run_dir.has(name)), None)
    except tf.errors.OpError as error:
        raise InputError(
            f"--model={path} cannot be read ({one_line(error)}); check the path and your rights."
        ) from error
    if other:
        raise InputError(f"--model={path} is an export to {other}; give one to SavedModel or Keras.")
    raise InputError(
        f"--model={path} is neither a run directory (it has no {CONFIG}) nor an export (no saved_model.pb, no "
        f"{KERAS_FILE}); give one of these."
    )


def _check_no_ema(path, use_ema):
    """Raise InputError if the momentum network is asked for of a model that is not a run directory."""
    if use_ema:
        raise InputError(
            f"--model={path} is not a run directory, and only a run directory has a momentum network; leave --use_ema "
            "out, or give the run directory."
        )


def _of_run(path, use_ema=False):
    run = open_source(path, flag="model", ema=use_ema)
    return _of_keras(path, run.model(), run.image_size, run.class_names, run.eval_antialias)


def _of_export(path):
    loaded = load_saved_model(path, "--model")
    shapes = {name: endpoint.shape for name, endpoint in loaded.endpoints.items()}
    shapes = {name: shape for name, shape in shapes.items() if shape.rank in (None, 2, 4)}
    if not shapes:
        raise InputError(
            f"{loaded.source} has no signature and no __call__ that takes float images [n, height, width, 3]; export "
            "it with simclr export, or import weights released for SimCLR with simclr import."
        )
    names = ("image_size", "fixed_size", "class_names", "fingerprint", "antialias")
    return AnyModel(path, shapes, loaded, **{name: getattr(loaded, name) for name in names})


def _of_keras_file(path, file):
    import keras

    # Keras knows the layers of this package after their modules are imported.
    from simclr_keras.export.loading import hub_layer  # noqa: F401
    from simclr_keras.models import simclr

    folder = os.path.dirname(file) or "."
    card = read_card(folder)  # of an export, beside the file
    try:
        model = keras.saving.load_model(file, compile=False)
    except Exception as error:  # a file may contain anything
        raise InputError(
            f"{file} cannot be loaded ({one_line(error)}); save the model again, or give another."
        ) from error
    if not isinstance(model, simclr.SimCLRModel):
        print(
            f"model    {file} gets pixels in [0, 1]; if it takes others, such as 0 to 255, save "
            "SimCLRModel(model, pixel_range=(0, 255)) in its place"
        )
    names = read_class_names(folder, card) if card else getattr(model, "class_names", None)
    return _of_keras(path, model, card.get("image_size"), names, is_antialiased(card))


def _of_keras(path, model, image_size, class_names, antialias):
    fixed = _fixed_size(model)

    # Traced once for any number and size of images. TensorFlow computes only the outputs that `call` uses.
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, fixed, fixed, 3], tf.float32)])
    def run(images):
        outputs = model(images, training=False)
        outputs = outputs if isinstance(outputs, dict) else {"output": outputs}
        return {name: tf.cast(value, tf.float32) for name, value in outputs.items()}

    try:
        specs = run.get_concrete_function().structured_outputs
    except Exception as error:  # of a model of other things than images
        raise InputError(f"--model={path} does not take images [n, h, w, 3]: {one_line(error)}.") from error
    shapes = {name: spec.shape for name, spec in specs.items()}
    if REPRESENTATION in shapes:
        # The representation, which proj_head_0 repeats, is listed once and first.
        shapes = {ENCODER: shapes.pop(REPRESENTATION), **shapes}
    keys = {ENCODER: REPRESENTATION} if ENCODER not in specs else {}

    @tf.function(autograph=False)
    def call(images, endpoint):
        return run(images)[keys.get(endpoint, endpoint)]

    digest = hashlib.blake2b(digest_size=16)
    for variable in model.weights:  # not model.variables: those of random layers are new in every process
        digest.update(np.ascontiguousarray(variable.numpy()).view(np.uint8))  # bfloat16 has no buffer
    return AnyModel(
        path, shapes, call, image_size or fixed, fixed, class_names, digest.hexdigest(), antialias
    )


def _fixed_size(model):
    """Return the only size of images that a Keras model takes, or None."""
    size = getattr(model, "fixed_size", None)
    shape = getattr(model, "input_shape", None) if size is None else None
    if isinstance(shape, tuple) and len(shape) == 4 and shape[1] == shape[2]:
        size = shape[1]
    return size
