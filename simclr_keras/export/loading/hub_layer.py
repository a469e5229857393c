"""HubLayer: a SavedModel as a native Keras 3 layer that trains, freezes and is saved with the model around it."""

from typing import Any

import keras
import tensorflow as tf
from keras.src.backend import in_symbolic_scope  # the only way to ask whether shapes are inferred

from simclr_keras.errors import InputError
from simclr_keras.export.loading.embedded_graph import has_graph, pack, unpack
from simclr_keras.export.loading.loaded_model import load_saved_model
from simclr_keras.files import expand_home


@keras.saving.register_keras_serializable("simclr_keras")
class HubLayer(keras.layers.Layer):
    """Run a reusable SavedModel: of simclr export, or any other with `__call__(images, training)`.

    While training, its weights, batch normalization statistics and regularization losses take part. With
    `trainable=False`, given here or set before `compile`, it runs in inference mode and nothing in it changes.
    Batch statistics are those of each replica, because SavedModels are traced for one. Moving statistics are averaged
    after each training call, so that all replicas have the same. The whole network runs in float32, whatever the
    endpoint; outputs have the compute dtype of the dtype policy. Under a strategy, make the layer in its scope.

    Models with this layer are saved as .keras and load on other machines, without the folder and with the fine-tuned
    weights: the file contains the graph of the SavedModel. Such a graph is a program that could read and write files:
    load only .keras files and SavedModels of people you trust, whatever `safe_mode` is. A copy made from the config
    (`keras.models.clone_model`) has the weights of the SavedModel, if that still exists.

    >>> import numpy as np
    >>> from simclr_keras import HubLayer
    >>> encoder = HubLayer("exports/photos", endpoint="encoder", trainable=False)  # written by simclr export
    >>> encoder(np.zeros([2, 32, 32, 3], "float32")).shape
    TensorShape([2, 64])

    Args:
        path: folder of a SavedModel, or an address that tensorflow_hub downloads.
        endpoint: output to return, such as encoder, proj_head_1, logits or block_group4; None returns a dict of all.
        trainable: whether it takes part in training.
        carried: graph from `get_config`, which needs no folder.
        **kwargs: name and dtype, as for every layer.

    Call arguments:
        images: float [n, h, w, 3], pixels in [0, 1].

    Raises:
        InputError: there is no SavedModel, it cannot be called or trained, or has no such endpoint; or images are not
            float, or of a shape it does not take.
    """

    def __init__(
        self,
        path: str,
        endpoint: str | None = None,
        trainable: bool = True,
        *,
        carried: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(trainable=trainable, autocast=False, **kwargs)
        self.handle = expand_home(path)
        self.endpoint = endpoint
        self.supports_jit = False  # the graph was made for TensorFlow's kernels
        self._loaded = loaded = self._load(carried)
        self._module = loaded.module  # an attribute, so that models with this layer export its variables
        loaded.require_call()
        if trainable and not (loaded.weights and loaded.has_training_mode):
            missing = "training mode" if loaded.weights else "trainable_variables"
            raise InputError(
                f"{loaded.source} is a SavedModel without {missing}; give trainable=False to use it as it is."
            )
        self._key = loaded.find_key(endpoint)
        self._add_variables()
        self.built = True
        self._carried = carried or pack(loaded.folder, len(loaded.variables))

    def _load(self, carried):
        folder, self._has_values = None, True
        if carried is not None and not has_graph(self.handle, carried):
            self._unpacked, self._has_values = unpack(carried)
            folder = self._unpacked.name  # kept, because saving the layer again reads its assets
        return load_saved_model(self.handle, folder=folder, values=self._has_values)

    def _add_variables(self):
        loaded, names = self._loaded, set()
        weights = {id(variable) for variable in loaded.weights}
        for variable in loaded.variables:
            settings = {
                "name": _unique(variable.name.split(":")[0].replace("/", "."), names),
                "trainable": id(variable) in weights,
                "dtype": variable.dtype,
            }
            with keras.name_scope(self.name):
                self._track_variable(keras.Variable(variable, autocast=False, **settings))
        if loaded.losses and loaded.weights:
            # On one weight, so that it counts once however often the layer is called, and never while it is frozen.
            self.weights[0].regularizer = _Losses(loaded.losses)
        self._statistics = [v for v in loaded.variables if id(v) not in weights and v.dtype.is_floating]

    def __call__(self, images, *args, **kwargs):
        # Not in `call`: Keras wraps the errors of that in many lines.
        self._loaded.check_images(images)
        self._check_values(images)
        return super().__call__(images, *args, **kwargs)

    def _check_values(self, images):
        symbolic = in_symbolic_scope() or any(map(keras.utils.is_keras_tensor, keras.tree.flatten(images)))
        # While a model is loaded, it is called once before its weights are set.
        if self._has_values or symbolic:
            return
        with tf.init_scope():
            self._has_values = all(bool(v.is_initialized()) for v in self._loaded.variables)
        if not self._has_values:
            raise InputError(
                f"{self.name} has no weights: it was copied from its config, and {self.handle} is missing; set them "
                "(set_weights, load_weights), or load the .keras file."
            )

    def call(self, images, training=False):
        training = bool(training) and self.trainable
        outputs = self._loaded.run(images, training)
        if training:
            self._average_statistics()
        return keras.tree.map_structure(
            lambda x: tf.cast(x, self.compute_dtype) if x.dtype.is_floating else x, self._select(outputs)
        )

    def compute_output_spec(self, images, training=False):
        spec = tf.TensorSpec(images.shape, self._loaded.inputs.dtype)

        def describe(output):
            dtype = self.compute_dtype if output.dtype.is_floating else output.dtype.name
            return keras.KerasTensor(tuple(output.shape), dtype=dtype)

        return keras.tree.map_structure(describe, self._select(self._loaded.infer_outputs(spec)))

    def _select(self, outputs):
        if self._key is not None:
            return outputs[self._key]
        return dict(outputs) if isinstance(outputs, dict) else outputs

    def _average_statistics(self):
        """Make the copies on all replicas equal: the loaded graph updates only the copy of its replica."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1 or not self._statistics:
            return
        local = [_copy_on_replica(variable, context) for variable in self._statistics]
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, [tf.identity(variable) for variable in local])
        for variable, mean in zip(local, means):
            variable.assign(mean)

    def get_config(self):
        return {
            **super().get_config(),
            "path": self.handle,
            "endpoint": self.endpoint,
            "carried": self._carried,
        }

    @classmethod
    def from_config(cls, config):
        # Keras' own method would put the whole config, with the graph, into the text of every error.
        policy = config.get("dtype")
        if isinstance(policy, dict):
            config = {**config, "dtype": keras.dtype_policies.deserialize(policy)}
        return cls(**config)


class _Losses(keras.regularizers.Regularizer):
    """The sum of a SavedModel's regularization losses, for any variable."""

    def __init__(self, losses):
        self._losses = losses

    def __call__(self, _):
        return tf.add_n([tf.cast(loss(), tf.float32) for loss in self._losses])


def _unique(name, names):
    """Return the name with a number if it is taken, and add it to the names."""
    unique, number = name, 0
    while unique in names:
        number += 1
        unique = f"{name}_{number}"
    names.add(unique)
    return unique


def _copy_on_replica(variable, context):
    """Return a variable's copy on this replica; assigning to the variable itself would need an aggregation."""
    copies = tf.distribute.get_strategy().experimental_local_results(variable)
    replica = tf.get_static_value(context.replica_id_in_sync_group)
    return variable if replica is None else copies[replica % len(copies)]  # None on TPU
