"""One SavedModel that every TensorFlow loader takes, runs and trains on."""

import tempfile

import tensorflow as tf

from simclr_keras import preprocess
from simclr_keras.errors import InputError
from simclr_keras.export.endpoints import (
    FROM_BYTES,
    IMAGE_BYTES,
    IMAGES,
    SERVING,
    chosen,
    signature_endpoints,
)

CLASS_NAMES = "class_names.txt"


def write_saved_model(
    model, path, *, image_size, class_names=None, weight_decay=0.0, decode_images=False, endpoints=None
):
    """Writes a network as a reusable SavedModel (https://www.tensorflow.org/hub/reusable_saved_models).

    The saved object has

    - `__call__(images, training=False)`: float32 images [n, h, w, 3] in [0, 1] -> dict of all endpoints, float32.
      Networks of this package take any n (1 or more), h and w; those of keras.applications their own size;
    - `variables`, `trainable_variables`, and `regularization_losses`, one L2 term for each kernel;
    - for every endpoint E, and `encoder`, the functions E(images) and E_train(images) of one bare tensor. The latter
      normalizes by the statistics of the batch and moves the stored ones. `serve` and `serve_train` give all vectors.
      They are what keras.layers.TFSMLayer calls;
    - signatures encoder, proj_head_0 .. proj_head_k, logits and serving_default, which is all of these. Their input is
      `images`, their outputs are called as their endpoints are (that of encoder final_avg_pool);
    - `class_names`, an asset of one name per line.

    Args:
        model: built SimCLRModel in float32, made outside of any strategy scope, as this is to be called.
        path: of the folder to write.
        image_size: side in pixels of the images it was trained on; what encoded images are brought to.
        class_names: of the classifier, in its order; None where they are unknown.
        weight_decay: factor of the L2 terms, 0.5 * weight_decay * ||kernel||^2; 0 for none of them.
        decode_images: whether there are signatures NAME_from_bytes too, which take `image_bytes`, strings [n] of
            encoded JPEG, PNG, BMP or GIF files, and do the evaluation preprocessing.
        endpoints: names of the signatures to write; None for all.

    Raises:
        InputError: the network is not float32, or has no such endpoint.
    """
    if model.compute_dtype != "float32":
        raise InputError(
            f"only float32 networks are exported; build this one so. Received: dtype={model.compute_dtype}"
        )
    forward = _Forward(model)
    vectors = chosen(signature_endpoints(forward.outputs), endpoints, "the model")
    module = _Module()
    # The Keras model itself is not attached: that would store every variable a second time.
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
            name + FROM_BYTES: forward.decoding(group, image_size) for name, group in groups.items()
        }
    # Their gradients are written only where there are any: models that hold the layer are harder to save with them.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=forward.has_custom_gradients)
    with tempfile.TemporaryDirectory() as folder:
        if class_names is not None:
            module.class_names = tf.saved_model.Asset(_write_names(class_names, folder))
        tf.saved_model.save(module, path, signatures=signatures, options=options)


class _Module(tf.train.Checkpoint):
    """Saves every attribute that is set on it. tf.Module would not do: it reserves `variables`."""


class _Forward:
    """A model's forward pass as a graph, and functions that take single outputs of it.

    The pass is traced once in inference and once in training mode; the functions call these, so that a SavedModel
    holds the graph of the network twice whatever the number of its endpoints.

    Attributes:
        function: of (images, training=False) to a dict of all endpoints.
        outputs: names of all endpoints.
        has_custom_gradients: whether some operation in it has a gradient of its own making.
    """

    def __init__(self, model):
        size = model.fixed_size  # networks of keras.applications take this one alone
        self._spec = tf.TensorSpec([None, size, size, 3], tf.float32, name=IMAGES)

        def call(images, training=False):
            found = model(images, training=training)
            return {name: tf.cast(value, tf.float32) for name, value in found.items()}

        self.function = tf.function(call, autograph=False)
        traces = [self.function.get_concrete_function(self._spec, training=flag) for flag in (False, True)]
        self.outputs = tuple(traces[0].structured_outputs)
        self.has_custom_gradients = any(_has_custom_gradient(trace.graph) for trace in traces)

    def one(self, endpoint, training=False):
        """The function of images to one endpoint, as a bare tensor."""
        return self._of_images(lambda images: self.function(images, training=training)[endpoint])

    def some(self, endpoints, training=False):
        """The function of images to a dict of these endpoints."""
        return self._of_images(lambda images: self._pick(images, endpoints, training))

    def decoding(self, endpoints, image_size):
        """The function of encoded images, strings [n], to a dict of these endpoints."""

        def see(encoded):
            return preprocess.evaluation_view(preprocess.decode(encoded), image_size)

        seen = tf.TensorSpec([image_size, image_size, 3], tf.float32)

        def call(image_bytes):
            images = tf.map_fn(see, image_bytes, fn_output_signature=seen)
            return self._pick(images, endpoints, False)

        spec = tf.TensorSpec([None], tf.string, name=IMAGE_BYTES)
        return tf.function(call, input_signature=[spec], autograph=False)

    def _pick(self, images, endpoints, training):
        found = self.function(images, training=training)
        return {endpoint: found[endpoint] for endpoint in endpoints}

    def _of_images(self, call):
        def named(images):  # the argument's name is that of the signature's input
            # Without this, an image that is no batch ends the process in some of TensorFlow's CPU kernels.
            return call(tf.ensure_shape(images, self._spec.shape))

        return tf.function(named, input_signature=[self._spec], autograph=False)


def _has_custom_gradient(graph):
    graphs = graph.as_graph_def()
    nodes = [*graphs.node, *(node for function in graphs.library.function for node in function.node_def)]
    return any("_gradient_op_type" in node.attr for node in nodes)


def _l2_losses(model, weight_decay):
    def make(kernel):  # a closure for each: default arguments cannot be saved
        loss = tf.function(lambda: weight_decay * tf.nn.l2_loss(kernel), input_signature=[], autograph=False)
        loss.get_concrete_function()
        return loss

    return [make(v.value) for v in model.trainable_variables if v.path.endswith("kernel")]


def _write_names(class_names, folder):
    path = f"{folder}/{CLASS_NAMES}"
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{' '.join(str(name).split())}\n" for name in class_names)
    return path
