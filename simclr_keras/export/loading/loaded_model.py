"""LoadedModel: a SavedModel of any maker as a function of images. It is opened here and nowhere else."""

import functools
import hashlib
import inspect
from typing import Any

import keras
import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.export.card import is_antialiased, read_card, read_class_names
from simclr_keras.export.endpoints import SERVING
from simclr_keras.export.loading.find_saved_model import GRAPHS, REMEDY, find_saved_model
from simclr_keras.export.loading.signatures import (
    Endpoint,
    common_size,
    first_argument,
    image_input,
    is_images,
    signature_endpoints,
)

LOGITS_NAMES = ("logits", "logits_sup")  # the latter in the SavedModels of the SimCLR release
OUTPUT = "output"  # endpoint of a __call__ that returns one tensor without a name
_MODES = ("training", "trainable")  # argument of reusable SavedModels, and of those of the SimCLR release
_HUB_V1 = "tfhub_module.pb"


class LoadedModel:
    """A SavedModel as a function of images: its endpoints, its training mode and its variables.

    Endpoints are the outputs of its signatures, then those of `__call__` that no signature returns. An endpoint is
    named after its signature, or after the output if the signature has several. Inputs are float images
    [n, h, w, 3] with pixels in [0, 1]; signatures with other inputs are left out.

    Args:
        module: object that `tf.saved_model.load` returned.
        source: argument and value that gave it, such as --model=exports/photos, for messages.
        folder: that it was loaded from.

    Attributes:
        endpoints: dict of name to Endpoint; empty if nothing in it takes images.
        fixed_size: side in pixels of the only images it takes, or None if it takes several sizes.
        inputs: TensorSpec of the argument of `__call__`, or None if that is missing or takes something else.
        outputs: TensorSpec, or dict of them, that `__call__` returns.
        variables: list of tf.Variable, the trainable ones first. weights: the trainable ones.
        losses: functions without arguments, one for each regularization term.
    """

    def __init__(self, module: Any, source: str, folder: str):
        self.module, self.source, self.folder = module, source, folder
        self.weights = list(getattr(module, "trainable_variables", []))
        weight_ids = {id(variable) for variable in self.weights}
        others = [v for v in getattr(module, "variables", []) if id(v) not in weight_ids]
        self.variables = [*self.weights, *others]
        self.losses = list(getattr(module, "regularization_losses", []))
        self._read_call()
        signatures = {name: s for name, s in module.signatures.items() if image_input(s)}
        self.endpoints = signature_endpoints(signatures)
        shapes = [image_input(signature)[1].shape for signature in signatures.values()]
        self._bare = None
        if self.inputs is not None and is_images(self.inputs):
            shapes = shapes or [self.inputs.shape]
            if isinstance(self.outputs, dict):
                self._add_outputs()
            elif hasattr(self.outputs, "shape"):
                self._bare = Endpoint(OUTPUT, self.outputs.shape, self.run)
                self.endpoints = self.endpoints or {OUTPUT: self._bare}
        self.fixed_size = common_size(shapes)

    def _read_call(self):
        self.inputs = self.outputs = None
        self._function = getattr(self.module, "__call__", None)  # noqa: B004  of the instance, not its class
        traces = getattr(self._function, "concrete_functions", [])
        self._accepted = [first_argument(trace) for trace in traces]
        if traces and all(self._accepted):
            parameters = inspect.signature(self._function).parameters
            self._mode = next((name for name in _MODES if name in parameters), None)
            if self._is_traced(training=False):
                self.inputs = self._accepted[0]
                self.outputs = self.infer_outputs(self.inputs)

    def _add_outputs(self):
        taken = {*self.endpoints, *(endpoint.key for endpoint in self.endpoints.values())}
        for key, spec in sorted(self.outputs.items()):  # a SavedModel keeps no order
            if key not in taken and getattr(spec, "dtype", tf.string).is_floating:
                compute = functools.partial(lambda images, key: self.run(images)[key], key=key)
                self.endpoints[key] = Endpoint(key, spec.shape, compute)

    @functools.cached_property
    def card(self) -> dict:
        """The content of card.json; empty if there is none."""
        return read_card(self.folder)

    @functools.cached_property
    def class_names(self) -> tuple[str, ...] | None:
        return read_class_names(self.folder, self.card)

    @property
    def image_size(self) -> int | None:
        """Side in pixels of the images it was trained on, or None if unknown."""
        return self.card.get("image_size") or self.fixed_size

    @property
    def antialias(self) -> bool:
        """Whether its evaluation images were antialiased when they shrank."""
        return is_antialiased(self.card)

    @property
    def fingerprint(self) -> str:
        """Digest of its weights: the index of a checkpoint contains a checksum of every tensor."""
        names = [f"{self.folder}/{name}" for name in ("variables/variables.index", *GRAPHS)]
        with tf.io.gfile.GFile(next(filter(tf.io.gfile.exists, names)), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()[:16]

    def __call__(self, images: Any, endpoint: str) -> tf.Tensor:
        """Return one endpoint, float32 [n, ...], of images: float [n, h, w, 3], pixels in [0, 1].

        An InputError names an unknown endpoint, which may also be the key of an output, or images that are not float.
        """
        images = tf.convert_to_tensor(images)
        _check_float(images.dtype)
        name = self.find(endpoint)
        return tf.cast((self.endpoints.get(name) or self._bare).compute(images), tf.float32)

    def find(self, endpoint: str) -> str:
        """Return the name of an endpoint, given that name or the key of its output.

        Raises:
            InputError: there is none.
        """
        if endpoint in self.endpoints or (self._bare and endpoint == OUTPUT):
            return endpoint
        for name, (key, _, _) in self.endpoints.items():
            if key == endpoint:
                return name
        raise InputError(f"{self.source} has no endpoint {endpoint}; it has {', '.join(self.endpoints)}.")

    def find_logits(self) -> str | None:
        """Return the endpoint of its logits, whatever its maker called it; None if there is none."""
        keys = {*self.endpoints, *(endpoint.key for endpoint in self.endpoints.values())}
        bare = OUTPUT if self._bare else None
        return next((self.find(name) for name in LOGITS_NAMES if name in keys), bare)

    # Everything below runs the whole `__call__`, as layers do.

    def require_call(self) -> None:
        """Raise InputError if it has no `__call__` of one tensor."""
        if self.inputs is None:
            raise InputError(
                f"{self.source} is a SavedModel without __call__(images, training), such as TF1 and model.export "
                f"write; {REMEDY}."
            )

    def run(self, images: Any, training: bool = False) -> Any:
        """Return what `__call__` returns: a tensor, or a dict of them."""
        return self._function(tf.cast(images, self.inputs.dtype), **self._arguments(training))

    def infer_outputs(self, spec: tf.TensorSpec) -> Any:
        """Return the specs of what `__call__` returns for images of this spec."""
        # A function of its own: the loaded one would return its trace for images of any size.
        function = tf.function(self.run, autograph=False)
        return function.get_concrete_function(spec).structured_outputs

    def find_key(self, endpoint: str | None) -> str | None:
        """Return the key of an endpoint in what `run` returns; None if no endpoint is asked for.

        Raises:
            InputError: there is no such endpoint.
        """
        if endpoint is None:
            return None
        if not isinstance(self.outputs, dict):
            raise InputError(
                f"endpoint={endpoint}, but {self.source} returns one tensor without a name; leave endpoint out."
            )
        # A signature of one output is another name of that output: encoder is final_avg_pool.
        signatures = {name: e.key for name, e in self.endpoints.items() if name != SERVING}
        keys = {name: key for name, key in signatures.items() if key in self.outputs}
        keys |= {key: key for key in self.outputs}
        if endpoint not in keys:
            raise InputError(f"{self.source} has no endpoint {endpoint}; it has {', '.join(sorted(keys))}.")
        return keys[endpoint]

    @functools.cached_property
    def has_training_mode(self) -> bool:
        return self._is_traced(training=True)

    def check_images(self, images: Any) -> None:
        """Raise InputError if `__call__` does not take images of this type and shape."""
        parts = keras.tree.flatten(images)
        if len(parts) != 1:
            raise InputError(
                f"{self.source} takes 1 tensor, not a structure of {len(parts)}: give one array."
            )
        if self.inputs.dtype.is_floating:
            _check_float(tf.as_dtype(keras.backend.standardize_dtype(getattr(parts[0], "dtype", "float32"))))
        shape = tf.TensorShape(getattr(parts[0], "shape", None))
        if not any(shape.is_compatible_with(spec.shape) for spec in self._accepted):
            raise InputError(
                f"{self.source} takes images of shape {self.inputs.shape}. Received: shape {shape}"
            )

    def _arguments(self, training):
        return {} if self._mode is None else {self._mode: bool(training) and self.has_training_mode}

    def _is_traced(self, training):
        """Return whether there is a graph for this mode; a function without modes has one graph for both."""
        if self._mode is None:
            return True
        try:
            self._function.get_concrete_function(self._accepted[0], **{self._mode: training})
        except ValueError:
            return False
        return True


def load_saved_model(
    handle: str, argument: str = "path", folder: str | None = None, values: bool = True
) -> LoadedModel:
    """Load a SavedModel from a folder or a TF-Hub handle (https://...).

    Args:
        argument: name of the argument or flag that gave the handle, for messages.
        folder: where a copy of the SavedModel is; None looks it up by its handle.
        values: False leaves the variables without their values.

    Raises:
        InputError: there is no SavedModel, or it is damaged.
    """
    folder = folder or find_saved_model(str(handle).rstrip("/"), argument)
    try:
        # As hub.load does, without that package: on TPU hosts it would install another TensorFlow.
        tags = [] if tf.io.gfile.exists(f"{folder}/{_HUB_V1}") else None
        options = tf.saved_model.LoadOptions(experimental_skip_checkpoint=not values)
        module = tf.saved_model.load(folder, tags=tags, options=options)
    except Exception as error:  # a damaged graph raises errors of many kinds
        raise InputError(
            f"{argument}={handle} is a SavedModel that cannot be loaded ({one_line(error)}); export it again."
        ) from error
    return LoadedModel(module, f"{argument}={handle}", folder)


def _check_float(dtype):
    if not dtype.is_floating:
        raise InputError(
            f"images must be float, with pixels in [0, 1]: divide 8-bit ones by 255. Received: {dtype.name}"
        )
