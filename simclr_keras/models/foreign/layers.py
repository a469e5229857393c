"""Make the layers of any keras.Model exact: batch statistics and dropout of the global batch, state, stable names."""

import re

import keras
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.replicas import OWN_COPIES, number_of_rows, rows_of_replica

# Our ResNets and the release have 0.9. Keras has 0.99 to 0.9997 for long training on ImageNet: after 69 steps of
# fine-tuning at 0.99, half of the moving statistics are still the old ones, and evaluation fails (59 % against 98 %).
MOST_MOMENTUM = 0.9


@keras.saving.register_keras_serializable("simclr_keras")
class Dropout(keras.layers.Layer):
    """Drop elements in training, or whole slices of them, as keras.layers.Dropout does.

    What is dropped is a function of the variable `draws`, (seed, calls so far), and of the example's place in the
    global batch: a run that resumes and one on more replicas drop the same. (Not if the batch joins two streams, as in
    a distillation with labels: replicas then draw for other rows than one device.) A frozen layer drops nothing.

    Args:
        rate: share that is dropped, in [0, 1).
        noise_shape: shape of the random numbers, None for the size of the inputs, as for the examples: (None, 1, 1, 1)
            drops whole examples (stochastic depth, Huang et al. 2016, arXiv 1603.09382). None drops single elements.
        seed: of the draws; None follows keras.utils.set_random_seed.

    Attributes:
        views: of each example in a batch of this replica, first views first; see `set_views`.
    """

    views = 1

    def __init__(self, rate: float, noise_shape: tuple | None = None, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def build(self, input_shape: tuple) -> None:
        # A generator, for its seed alone.
        self.add_draws(keras.random.SeedGenerator(self.seed))

    def add_draws(self, generator: keras.random.SeedGenerator) -> None:
        """Create the variable `draws` with the seed of a generator."""
        seed = int(generator.state.numpy()[0]) % 2**31
        self.draws = keras.Variable(
            lambda shape, dtype: tf.constant([seed, 0], dtype),
            shape=(2,),
            dtype="int32",
            name="draws",
            **OWN_COPIES,
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not (training and self.trainable and self.rate):
            return inputs
        draws = tf.convert_to_tensor(self.draws)
        self.draws.assign(draws + tf.constant([0, 1]))
        noise_shape = self.noise_shape or [None] * len(inputs.shape)
        sizes = [size or tf.shape(inputs)[axis] for axis, size in enumerate(inputs.shape)]
        rest = [noise or size for noise, size in zip(noise_shape[1:], sizes[1:])]
        rows = number_of_rows(inputs)
        first, total = rows_of_replica(rows)
        # As on one device, whose batch has the first views of all replicas before the second ones.
        uniform = tf.random.stateless_uniform([self.views, total // self.views, *rest], draws)
        first, own = first // self.views, rows // self.views
        uniform = tf.slice(uniform, [0, first, *(0 for _ in rest)], [self.views, own, *rest])
        uniform = tf.reshape(uniform, [rows, *rest])
        return inputs * (tf.cast(uniform >= self.rate, inputs.dtype) / tf.cast(1 - self.rate, inputs.dtype))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "rate": self.rate,
            "noise_shape": self.noise_shape,
            "seed": self.seed,
        }


def set_views(model: keras.Model, views: int) -> None:
    """Set how many views of each example a training batch has, for the Dropout layers of a model.

    To be called before the training step is traced. On one device nothing changes.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, Dropout):
            layer.views = views


@keras.saving.register_keras_serializable("simclr_keras")
class Standardize(keras.layers.Normalization):
    """Subtract a mean and divide by a deviation per channel, which are variables and part of a checkpoint.

    Keras's Normalization computes with constants beside its variables, which a restored checkpoint leaves behind.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        mean, variance = (
            tf.cast(tf.reshape(tf.convert_to_tensor(moment), self._broadcast_shape), inputs.dtype)
            for moment in (self.adapt_mean, self.adapt_variance)
        )
        deviation = tf.maximum(tf.sqrt(variance), keras.config.epsilon())
        return inputs * deviation + mean if self.invert else (inputs - mean) / deviation


def adopt(network: keras.Model, path: str) -> None:
    """Make a built model's layers exact on replicas and on resuming, in place; its weights stay.

    Its BatchNormalization layers take the statistics of the batch of all replicas, with a momentum of at most 0.9.
    Dropout draws for the global batch. Other random layers draw the same numbers on every replica. Every variable that
    is not trained has a copy on each replica. The paths of variables begin with `path` and no longer depend on what was
    built before. To be called under the strategy that the model was made under.

    Raises:
        InputError: a BatchNormalization is not over the last axis, or renormalizes.
    """
    names = stable_names(network)
    for layer in network._flatten_layers():
        layer._tracker.unlock()
        if type(layer) is keras.layers.BatchNormalization:
            _adopt_batch_norm(layer)
        elif type(layer) is keras.layers.Dropout and (layer.noise_shape or [None])[0] is None:
            _adopt_dropout(layer)
        elif isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            layer.__class__ = Standardize
            if hasattr(layer, "count"):  # of the images that it was adapted to; Keras keeps it for old files
                del layer.count
        for variable in [*layer._non_trainable_variables, *(seed.state for seed in layer._seed_generators)]:
            # Keras has made a variable that replicas cannot assign to.
            variable._value = keras.Variable(variable.numpy(), dtype=variable.dtype, **OWN_COPIES).value
        layer._tracker.lock()
    _set_paths(network, path, names, {})


def _adopt_batch_norm(layer):
    rank = layer.input_spec.ndim
    renorm = getattr(layer, "renorm", False)  # not every version of Keras has it
    if layer.axis % rank != rank - 1 or renorm:
        raise InputError(
            f"the BatchNormalization layer {layer.name!r} must normalize over the last axis, without renorm. "
            f"Received: axis={layer.axis}, renorm={renorm}"
        )
    layer.__class__ = BatchNormalization
    layer.fused, layer.momentum = None, min(layer.momentum, MOST_MOMENTUM)


def _adopt_dropout(layer):
    layer.__class__ = Dropout
    layer.add_draws(getattr(layer, "seed_generator", None) or keras.random.SeedGenerator(layer.seed))
    layer._seed_generators.clear()
    layer.seed_generator = None


def stable_names(layer: keras.layers.Layer, counts: dict[str, int] | None = None) -> dict[int, str]:
    """Return a dict of the id of each layer inside to its name, with those that Keras numbered counted from 0."""
    counts = {} if counts is None else counts
    names = {}
    for inner in getattr(layer, "operations", None) or layer._flatten_layers(False, False):
        names[id(inner)] = inner.name
        kind = re.sub(r"_\d+$", "", inner.name)
        if kind == snake_case(type(inner).__name__):
            number = counts.get(kind, 0)
            counts[kind] = number + 1
            names[id(inner)] = f"{kind}_{number}" if number else kind
        if isinstance(inner, keras.layers.Layer):
            names |= stable_names(inner, counts)
    return names


def snake_case(name: str) -> str:
    """Return the layer name that Keras makes from the name of a class."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _set_paths(layer, path, names, taken):
    """Give every variable in a layer a path of its own: the names of the layers around it, and its own."""
    attributes = {id(value): name for name, value in vars(layer).items()}
    states = [seed.state for seed in layer._seed_generators]
    for variable in [*layer._trainable_variables, *layer._non_trainable_variables, *states]:
        if re.fullmatch(r"variable(_\d+)?", variable.name):
            # Keras numbers variables without a name. AdamW finds by its name what does not decay, such as gamma.
            variable._name = attributes.get(id(variable), "variable")
        own = f"{path}/{variable.name}"
        number = taken[own] = taken.get(own, -1) + 1
        variable._path = f"{own}_{number}" if number else own
    for inner in layer._flatten_layers(False, False):
        _set_paths(inner, f"{path}/{names.get(id(inner), inner.name)}", names, taken)
