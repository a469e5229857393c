"""Clone a network of keras.applications with stable names, explicit dtypes, global BN and exact randomness."""

import random
import re
from collections.abc import Iterator

import keras
import tensorflow as tf

from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.heads import head_dtype
from simclr_keras.replicas import OWN_COPIES, number_of_rows, rows_of_replica


@keras.saving.register_keras_serializable("simclr_keras")
class StochasticDepth(keras.layers.Layer):
    """Drop whole examples of a residual branch in training, and scales the others up to keep the mean.

    What is dropped is a function of the variable `draws`, (seed, calls so far), and of the example's place in the
    global batch: a run that resumes and one on more replicas drop the same, unlike with Keras's Dropout.

    Reference: Huang et al. 2016, arXiv 1603.09382.

    Args:
        rate: share that is dropped, in [0, 1).
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape: tuple) -> None:
        seed = random.randint(1, 2**31 - 1)  # follows keras.utils.set_random_seed
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
        rows = number_of_rows(inputs)
        first, total = rows_of_replica(rows)
        uniform = tf.slice(tf.random.stateless_uniform([total], draws), [first], [rows])
        factors = tf.cast(uniform >= self.rate, inputs.dtype) / tf.cast(1 - self.rate, inputs.dtype)
        return inputs * tf.reshape(factors, [rows] + [1] * (len(inputs.shape) - 1))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("simclr_keras")
class Standardize(keras.layers.Layer):
    """Subtract a mean and divides by a deviation per channel, which are variables and come with a weights file.

    Keras's Normalization keeps them as constants beside its variables, which a restored checkpoint leaves behind.
    """

    def build(self, input_shape: tuple) -> None:
        shape = (input_shape[-1],)
        self.mean = self.add_weight(shape, "zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape, "ones", trainable=False, name="variance")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        deviation = tf.sqrt(tf.convert_to_tensor(self.variance))
        return (inputs - tf.convert_to_tensor(self.mean)) / tf.maximum(deviation, keras.config.epsilon())

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape


@keras.saving.register_keras_serializable("simclr_keras")
class LayerScale(keras.layers.Layer):
    """A factor per channel (Touvron et al. 2021, arXiv 2103.17239), as in ConvNeXt.

    The variable of Keras's layer bears no name but a number.

    Args:
        initial: where the factors start.
    """

    def __init__(self, initial: float, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape: tuple) -> None:
        start = keras.initializers.Constant(self.initial)
        self.gamma = self.add_weight((input_shape[-1],), start, name="gamma")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * tf.convert_to_tensor(self.gamma)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "initial": self.initial}


# Our ResNets and the release have 0.9. Keras has 0.99 to 0.9997 for long training on ImageNet: after 69 steps of
# fine-tuning at 0.99, half of the moving statistics are still the old ones, and evaluation fails (59 % against 98 %).
MOST_MOMENTUM = 0.9
# Pixels in [0, 255] and means over many of them are for float32.
_ALWAYS_FLOAT = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.GlobalAveragePooling2D)


def converted(stock: keras.Model, dtype: str) -> keras.Model:
    """Return a functional model of keras.applications cloned with fresh weights and exact state.

    Its variables lie in the name scope of the caller, under names that do not depend on what was built before.

    Args:
        stock: the model; its weights are not used.
        dtype: name of a dtype policy.
    """
    names = stable_names(stock)
    float_dtype = head_dtype(dtype)

    def convert(layer):
        name = names[id(layer)]
        config = {**layer.get_config(), "name": name}
        if isinstance(layer, keras.Sequential):
            nested = keras.Sequential([convert(inner) for inner in layer.layers], name=name)
            nested.dtype_policy = keras.dtype_policies.get(float_dtype)
            return nested
        if isinstance(layer, keras.layers.BatchNormalization):
            settings = {key: config[key] for key in ("epsilon", "center", "scale")}
            momentum = min(config["momentum"], MOST_MOMENTUM)
            return BatchNormalization(momentum, **settings, name=name, dtype=dtype)
        if isinstance(layer, keras.layers.Dropout):
            return StochasticDepth(layer.rate, name=name, dtype=dtype)
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            return Standardize(name=name, dtype=float_dtype)
        if type(layer).__name__ == "LayerScale":
            return LayerScale(config["init_values"], name=name, dtype=dtype)
        if isinstance(layer, keras.layers.Layer):
            config["dtype"] = float_dtype if isinstance(layer, _ALWAYS_FLOAT) else dtype
        return type(layer).from_config(config)

    images = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=float_dtype, name="images"), stock.input
    )

    def call(layer, *tensors, **arguments):
        arguments.pop("mask", None)  # there is none, but Keras's batch normalization would take one
        return layer(*tensors, **arguments)

    model = keras.models.clone_model(stock, input_tensors=images, clone_function=convert, call_function=call)
    # The layers within cast for themselves.
    model.dtype_policy = keras.dtype_policies.get(float_dtype)
    return model


def stable_names(model: keras.Model, counts: dict[str, int] | None = None) -> dict[int, str]:
    """Return a dict of the id of each layer to its name, with those that Keras numbered counted from 0."""
    counts = {} if counts is None else counts
    names = {}
    for layer in getattr(model, "operations", model.layers):
        names[id(layer)] = layer.name
        kind = re.sub(r"_\d+$", "", layer.name)
        if kind == snake_case(type(layer).__name__):
            number = counts.get(kind, 0)
            counts[kind] = number + 1
            names[id(layer)] = f"{kind}_{number}" if number else kind
        if isinstance(layer, keras.Model):
            names |= stable_names(layer, counts)
    return names


def snake_case(name: str) -> str:
    """Return the layer name that Keras makes from the name of a class."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model that hold no others, in order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer
