"""Write a network as one SavedModel that every TensorFlow loader runs and trains, and check it."""

import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from simclr_keras import preprocess
from simclr_keras.errors import InputError, TrainingError
from simclr_keras.export.endpoints import (
    FROM_BYTES,
    IMAGE_BYTES,
    IMAGES,
    SERVING,
    select_endpoints,
    signature_endpoints,
    with_probabilities,
)
from simclr_keras.export.formats.comparison import compare, random_images
from simclr_keras.export.formats.names import CLASS_NAMES, GRAPH_FILE, class_names_text
from simclr_keras.export.formats.pixel_limit import within_limit
from simclr_keras.models.simclr import SimCLRModel

TOLERANCE = 1e-5  # of the largest value of an endpoint


def write_saved_model(
    model: SimCLRModel,
    path: str,
    *,
    image_size: int,
    class_names: Any = None,
    weight_decay: float = 0.0,
    decode_images: bool = False,
    antialias: bool = False,
    endpoints: Any = None,
) -> None:
    """Write a network as a reusable SavedModel (https://www.tensorflow.org/hub/reusable_saved_models).

    The saved object has

    - `__call__(images, training=False)`: float32 images [n, h, w, 3] in [0, 1] -> dict of all endpoints, float32, and
      of the probabilities (the softmax of the logits). Networks of this package take any n (1 or more), h and w; those
      of keras.applications one size;
    - `variables`, `trainable_variables`, and `regularization_losses`, one L2 term per kernel;
    - for every endpoint E, and `encoder`, the functions E(images) and E_train(images) that return one tensor.
      E_train normalizes with the statistics of the batch and updates the moving ones. `serve` and `serve_train`
      return all vectors. keras.layers.TFSMLayer calls these functions;
    - signatures encoder, proj_head_0 .. proj_head_k, logits, probabilities and serving_default, which returns all of
      these. Their input is `images`, their outputs are named after their endpoints (final_avg_pool for encoder);
    - `class_names`, an asset with one name per line.

    Args:
        model: built SimCLRModel in float32. Make it, and call this, outside of any strategy scope.
        path: of the folder to write.
        image_size: side in pixels of the images it was trained on; encoded images are resized to it.
        class_names: of the classifier, in its order; None if they are unknown.
        weight_decay: factor of the L2 terms, 0.5 * weight_decay * ||kernel||^2; 0 writes none.
        decode_images: whether to add signatures NAME_from_bytes, which take `image_bytes`, strings [n] of encoded
            JPEG, PNG, BMP or GIF files, and do the evaluation preprocessing.
        antialias: whether that antialiases images that shrink.
        endpoints: names of the signatures to write; None for all.

    Raises:
        InputError: the network is not float32, or has no such endpoint.
    """
    if model.compute_dtype != "float32":
        raise InputError(
            f"only float32 networks are exported; build the network in float32. Received: dtype={model.compute_dtype}"
        )
    forward = _Forward(model)
    vectors = select_endpoints(signature_endpoints(forward.outputs), endpoints, "the model")
    module = _Module()
    # The Keras model itself is not attached, because that would store every variable twice.
    module.variables = [v.value for v in model.variables]
    module.trainable_variables = [v.value for v in model.trainable_variables]
    module.regularization_losses = _l2_losses(model, weight_decay) if weight_decay else []
    module.__call__ = forward.function
    for name, endpoint in ({name: name for name in forward.outputs} | vectors).items():
        for suffix, training in (("", False), ("_train", True)):
            setattr(module, name + suffix, forward.one(endpoint, training))
    groups = {name: [endpoint] for name, endpoint in vectors.items()} | {SERVING: [*vectors.values()]}
    module.serve, module.serve_train = (forward.some(groups[SERVING], training) for training in (False, True))
    signatures = {name: forward.some(group) for name, group in groups.items()}
    if decode_images:
        signatures |= {
            name + FROM_BYTES: forward.decoding(group, image_size, antialias)
            for name, group in groups.items()
        }
    # Custom gradients are written only if there are any: with them, models around the layer are harder to save.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=forward.has_custom_gradients)
    with tempfile.TemporaryDirectory() as folder:
        if class_names is not None:
            module.class_names = tf.saved_model.Asset(_write_names(class_names, folder))
        tf.saved_model.save(module, path, signatures=signatures, options=options)


def check_saved_model(path: str, model: SimCLRModel, image_size: int, signatures: dict[str, str]) -> dict:
    """Compare a SavedModel with its float32 network: every weight, every endpoint and every signature.

    Returns:
        dict of tolerance, difference (the largest over all endpoints) and images, for the card.

    Raises:
        TrainingError: an endpoint or a weight differs.
    """
    loaded = tf.saved_model.load(path)
    weights = zip(loaded.variables, (v.value for v in model.variables))
    if len(loaded.variables) != len(model.variables) or not all(_are_equal(a, b) for a, b in weights):
        raise TrainingError("the SavedModel has other weights than the network; it was not written.")
    # As a graph too: there TensorFlow joins convolutions and normalizations, which rounds otherwise than eagerly.
    graph = tf.function(lambda images: model(images, training=False), autograph=False)

    def network(images):
        outputs = with_probabilities(graph(tf.constant(images)))
        return outputs | {f"signature {name}": outputs[endpoint] for name, endpoint in signatures.items()}

    def exported(images):
        images = tf.constant(images)
        results = {
            f"signature {name}": loaded.signatures[name](images=images).get(endpoint)
            for name, endpoint in signatures.items()
        }
        return loaded(images, training=False) | results

    return compare(network, exported, [random_images(2, image_size)], TOLERANCE, GRAPH_FILE)


class _Module(tf.train.Checkpoint):
    """An object that saves all its attributes; tf.Module cannot, because it reserves `variables`."""


class _Forward:
    """A model's forward pass as a graph, and functions that return parts of its outputs.

    The pass is traced once in inference and once in training mode, and the functions call these traces. So a SavedModel
    contains the graph of the network twice, whatever the number of its endpoints.

    Attributes:
        function: of (images, training=False) to a dict of all endpoints.
        outputs: names of all endpoints.
        has_custom_gradients: whether an operation in it has a custom gradient.
    """

    def __init__(self, model):
        size = model.fixed_size  # networks of keras.applications take only this one
        self._spec = tf.TensorSpec([None, size, size, 3], tf.float32, name=IMAGES)

        def call(images, training=False):
            outputs = with_probabilities(model(images, training=training))
            return {name: tf.cast(value, tf.float32) for name, value in outputs.items()}

        self.function = tf.function(call, autograph=False)
        traces = [self.function.get_concrete_function(self._spec, training=flag) for flag in (False, True)]
        self.outputs = tuple(traces[0].structured_outputs)
        self.has_custom_gradients = any(_has_custom_gradient(trace.graph) for trace in traces)

    def one(self, endpoint, training=False):
        """Return the function of images to one endpoint, as a tensor."""
        return self._of_images(lambda images: self.function(images, training=training)[endpoint])

    def some(self, endpoints, training=False):
        """Return the function of images to a dict of these endpoints."""
        return self._of_images(lambda images: self._pick(images, endpoints, training))

    def decoding(self, endpoints, image_size, antialias):
        """Return the function of encoded images, strings [n], to a dict of these endpoints."""

        def preprocessed(encoded):
            image = preprocess.decode(within_limit(encoded))
            return preprocess.evaluation_view(image, image_size, antialias=antialias)

        view = tf.TensorSpec([image_size, image_size, 3], tf.float32)

        def call(image_bytes):
            images = tf.map_fn(preprocessed, image_bytes, fn_output_signature=view)
            return self._pick(images, endpoints, False)

        spec = tf.TensorSpec([None], tf.string, name=IMAGE_BYTES)
        return tf.function(call, input_signature=[spec], autograph=False)

    def _pick(self, images, endpoints, training):
        outputs = self.function(images, training=training)
        return {endpoint: outputs[endpoint] for endpoint in endpoints}

    def _of_images(self, call):
        def named(images):  # the name of this argument is that of the signature's input
            # Without this, an image without a batch dimension kills the process in some of TensorFlow's CPU kernels.
            return call(tf.ensure_shape(images, self._spec.shape))

        return tf.function(named, input_signature=[self._spec], autograph=False)


def _has_custom_gradient(graph):
    graphs = graph.as_graph_def()
    nodes = [*graphs.node, *(node for function in graphs.library.function for node in function.node_def)]
    return any("_gradient_op_type" in node.attr for node in nodes)


def _l2_losses(model, weight_decay):
    def make(kernel):  # one closure per kernel: default arguments cannot be saved
        loss = tf.function(lambda: weight_decay * tf.nn.l2_loss(kernel), input_signature=[], autograph=False)
        loss.get_concrete_function()
        return loss

    return [make(v.value) for v in model.trainable_variables if v.path.endswith("kernel")]


def _are_equal(stored, variable):
    return stored.shape == variable.shape and np.array_equal(stored.numpy(), variable.numpy())


def _write_names(class_names, folder):
    path = f"{folder}/{CLASS_NAMES}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(class_names_text(class_names))
    return path
