"""HubLayer: a SavedModel as a native Keras 3 layer that trains, freezes and is saved with the model around it."""

import keras
import tensorflow as tf
from keras.src.backend import in_symbolic_scope  # the only way to ask whether shapes are inferred

from simclr_keras.errors import InputError
from simclr_keras.export.loading import locate, packed, reusable


@keras.saving.register_keras_serializable("simclr_keras")
class HubLayer(keras.layers.Layer):
    """Runs a reusable SavedModel: what export.py writes, or any other with `__call__(images, training)`.

    While training, its weights, batch normalization statistics and regularization losses take part. With
    `trainable=False`, given here or set before `compile`, it runs in inference mode and nothing in it moves. Batch
    statistics are those of each replica, as SavedModels are traced for one; the moving ones are averaged after each
    training call, so that they are the same everywhere. Whatever the endpoint, the whole network is run, in float32;
    outputs have the type that the dtype policy computes in. Under a strategy it is made in the strategy's scope.

    Models that hold it are saved as .keras and load on other machines, without the folder and with what it has learned
    since: the file carries the graph of the SavedModel. Such a graph is a program, and could read and write files:
    load .keras files and SavedModels of people you trust alone, whatever `safe_mode` is. A copy made from the config
    (`keras.models.clone_model`) has the weights of the SavedModel, if that is still in its place.

    Args:
        path: folder of a SavedModel, or an address that tensorflow_hub downloads from.
        endpoint: which output to give, such as encoder, proj_head_1, logits or block_group4; None gives a dict of all.
        trainable: whether it takes part in training.
        **kwargs: name and dtype, as of every layer.

    Call arguments:
        images: float [n, h, w, 3], pixels in [0, 1].

    >>> import numpy as np
    >>> from simclr_keras import HubLayer
    >>> layer = HubLayer("exports/photos", endpoint="encoder", trainable=False)
    >>> layer(np.zeros([2, 32, 32, 3], "float32")).shape
    TensorShape([2, 64])

    Raises:
        InputError: one line: there is no SavedModel, it cannot be called or trained, or has no such endpoint; images
            are not float or of a shape it does not take.
    """

    def __init__(self, path, endpoint=None, trainable=True, *, carried=None, **kwargs):
        super().__init__(trainable=trainable, autocast=False, **kwargs)
        self.handle = str(path)
        self.endpoint = endpoint
        self.supports_jit = False  # the graph was made for TensorFlow's kernels
        source = f"path={self.handle}"
        folder = self._open(carried)
        self._network = network = reusable.Reusable(self._module, source)
        if trainable and not network.trains:
            what = "training mode" if network.weights else "trainable_variables"
            raise InputError(
                f"{source} is a SavedModel without {what}; give trainable=False to use it as it is."
            )
        self._key = _key(network, endpoint, source)
        self._add_variables(network)
        self.built = True
        self._packed = carried or packed.pack(folder, len(network.variables))

    def _open(self, carried):
        """Loads the SavedModel; returns its folder.

        Args:
            carried: what `get_config` gave, which needs no other folder; or None.
        """
        if carried is None or packed.holds(self.handle, carried):
            folder, self._has_values = locate.find(self.handle), True
        else:
            self._unpacked, self._has_values = packed.unpack(carried)
            folder = self._unpacked.name  # it stays, for its assets are read when it is saved again
        self._module = reusable.load(folder, handle=self.handle, values=self._has_values)
        return folder

    def _add_variables(self, network):
        weights = {id(variable) for variable in network.weights}
        names = set()
        for variable in network.variables:
            name = _unique(variable.name.split(":")[0].replace("/", "."), names)
            told = {"trainable": id(variable) in weights, "dtype": variable.dtype, "name": name}
            with keras.name_scope(self.name):
                self._track_variable(keras.Variable(variable, autocast=False, **told))
        if network.losses and network.weights:
            # Of one weight, and so counted once however often the layer is called, and never while it is frozen.
            self.weights[0].regularizer = _Losses(network.losses)
        self._statistics = [v for v in network.variables if id(v) not in weights and v.dtype.is_floating]

    def __call__(self, images, *args, **kwargs):
        # Not in `call`: Keras wraps the errors of that in many lines.
        self._network.check(images)
        self._check_values(images)
        return super().__call__(images, *args, **kwargs)

    def _check_values(self, images):
        symbolic = in_symbolic_scope() or any(map(keras.utils.is_keras_tensor, keras.tree.flatten(images)))
        # A model that is being loaded is gone through once before its weights come.
        if self._has_values or symbolic:
            return
        with tf.init_scope():
            self._has_values = all(bool(v.is_initialized()) for v in self._network.variables)
        if not self._has_values:
            raise InputError(
                f"{self.name} has no weights: it was copied from its config, and {self.handle} is gone; set them "
                "(set_weights, load_weights), or load the .keras file."
            )

    def call(self, images, training=False):
        training = bool(training) and self.trainable
        images = keras.tree.map_structure(
            lambda x, spec: tf.cast(x, spec.dtype), images, self._network.inputs
        )
        outputs = self._network(images, training=training)
        if training:
            self._average_statistics()
        return keras.tree.map_structure(
            lambda x: tf.cast(x, self.compute_dtype) if x.dtype.is_floating else x, self._chosen(outputs)
        )

    def compute_output_spec(self, images, training=False):
        specs = keras.tree.map_structure(
            lambda x, spec: tf.TensorSpec(x.shape, spec.dtype), images, self._network.inputs
        )

        def describe(output):
            dtype = self.compute_dtype if output.dtype.is_floating else output.dtype.name
            return keras.KerasTensor(tuple(output.shape), dtype=dtype)

        return keras.tree.map_structure(describe, self._chosen(self._network.outputs(specs)))

    def _chosen(self, outputs):
        if self._key is not None:
            return outputs[self._key]
        return dict(outputs) if isinstance(outputs, dict) else outputs

    def _average_statistics(self):
        """The loaded graph moves the copy of the replica it runs on; makes all copies the same again."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1 or not self._statistics:
            return
        own = [_on_this_replica(variable, context) for variable in self._statistics]
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, [tf.identity(variable) for variable in own])
        for variable, mean in zip(own, means):
            variable.assign(mean)

    def get_config(self):
        return {
            **super().get_config(),
            "path": self.handle,
            "endpoint": self.endpoint,
            "carried": self._packed,
        }

    @classmethod
    def from_config(cls, config):
        # Keras' own would put the whole config, graph and all, into the text of every error.
        policy = config.get("dtype")
        if isinstance(policy, dict):
            config = {**config, "dtype": keras.dtype_policies.deserialize(policy)}
        return cls(**config)


class _Losses(keras.regularizers.Regularizer):
    """The sum of a SavedModel's regularization losses, whatever variable it is asked about."""

    def __init__(self, losses):
        self._losses = losses

    def __call__(self, _):
        return tf.add_n([tf.cast(loss(), tf.float32) for loss in self._losses])


def _key(network, endpoint, source):
    """The key of an endpoint in the outputs of a network; None for all of them.

    Raises:
        InputError: there is no such endpoint.
    """
    if endpoint is None:
        return None
    names = network.endpoints()
    if names is None:
        raise InputError(
            f"endpoint={endpoint}, but {source} puts out one tensor without a name; leave endpoint out."
        )
    if endpoint not in names:
        raise InputError(f"{source} has no endpoint {endpoint}; it has {', '.join(sorted(names))}.")
    return names[endpoint]


def _unique(name, names):
    """A name that is not among the names yet, which it joins."""
    found, number = name, 0
    while found in names:
        number += 1
        found = f"{name}_{number}"
    names.add(found)
    return found


def _on_this_replica(variable, context):
    """A variable's copy on the replica that runs; assigning to the variable itself would ask for an aggregation."""
    copies = tf.distribute.get_strategy().experimental_local_results(variable)
    replica = tf.get_static_value(context.replica_id_in_sync_group)
    return variable if replica is None else copies[replica % len(copies)]  # None on TPU
