"""ForeignEncoder: any keras.Model from images to features as the encoder of a SimCLRModel."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.foreign.layers import adopt
from simclr_keras.models.heads import head_dtype
from simclr_keras.models.image_model import ImageModel

# The least and greatest pixel, of all channels or of each; or a name of keras.applications, see `to_pixel_range`.
PixelRange = str | Sequence[float] | Sequence[Sequence[float]]
# The statistics of ImageNet, for pixels in [0, 1], red first.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# As Caffe's networks knew it: for pixels in [0, 255], blue first.
CAFFE_MEAN = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable("simclr_keras")
class ForeignEncoder(ImageModel):
    """A keras.Model from images to features as an encoder; float [0, 1] images [n, h, w, 3] -> dict of endpoints.

    Endpoints: pooled [n, c], the model's output, and final_avg_pool [n, d], that of the dense layers on it (with bias
    and ReLU); the same if there are none. Both are float32 (float64 under float64). The model is used in place: it
    trains along. Its batch normalization becomes ours, with the statistics of the batch of all replicas and a momentum
    of at most 0.9, so that few steps of fine-tuning suffice for the moving statistics; see `layers.adopt`.
    Losses that its layers add, such as regularizers, are not minimized.

    >>> import keras
    >>> import numpy as np
    >>> from simclr_keras import SimCLRModel
    >>> network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
    ...                             keras.layers.BatchNormalization(), keras.layers.GlobalAveragePooling2D()])
    >>> model = SimCLRModel(network, pixel_range=(-1, 1), proj_dim=16)
    >>> model(np.zeros([2, 8, 8, 3], "float32"))["proj_head_3"].shape
    TensorShape([2, 16])

    Args:
        network: functional, sequential or subclassed, with one input [n, h, h, 3] and one output [n, c]. A subclassed
            one takes images of the size that it is built with.
        pixel_range: that the network takes, see `to_pixel_range`.
        dense_layers: widths of dense layers on top.
        backbone_trainable: whether the network itself trains. If not it is in inference mode, and `trainable = True`
            reaches the dense layers alone.

    Raises:
        InputError: the network has several inputs or outputs or no pooling, or an argument is out of its range.
    """

    def __init__(
        self,
        network: keras.Model | None,
        pixel_range: PixelRange = (0, 1),
        dense_layers: Sequence[int] = (),
        backbone_trainable: bool = True,
        name: str = "encoder",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if any(units < 1 for units in dense_layers):
            raise InputError(
                f"dense_layers must be 1 or more each. Received: dense_layers={tuple(dense_layers)}"
            )
        self.pixel_range = check_pixel_range(pixel_range)
        self.dense_layers = tuple(dense_layers)
        self.backbone_trainable = backbone_trainable
        self.base, self.image_size = network, None
        if network is not None:
            self.source = f"the model {network.name!r}"
            self._check_shapes()

    def build(self, input_shape: tuple) -> None:
        if not symbolic_shapes(self.base):
            self.base(keras.Input(input_shape[1:]))
        self._check_shapes()
        adopt(self.base, f"{self.path}/base")
        width = symbolic_shapes(self.base)[1][-1]
        for j, units in enumerate(self.dense_layers, start=1):
            dense = keras.layers.Dense(
                units,
                activation="relu",
                kernel_initializer="he_normal",
                name=f"dense{j}",
                dtype=head_dtype(self.dtype_policy),
            )
            dense.build((None, width))
            setattr(self, dense.name, dense)
            width = units
        if not (self.trainable and self.backbone_trainable):
            self.base.trainable = False

    @property
    def trainable(self) -> bool:
        return keras.Model.trainable.fget(self)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        if self.base is not None and not self.backbone_trainable:
            self.base.trainable = False

    def call(self, images: tf.Tensor, training: bool = False) -> dict:
        pixels = to_pixel_range(tf.cast(images, head_dtype(self.dtype_policy)), self.pixel_range)
        # Beside batch normalization, dropped branches stand still in a frozen network.
        x = self.base(pixels, training=bool(training) and self.base.trainable)
        endpoints = {"pooled": tf.cast(x, pixels.dtype)}
        x = endpoints["pooled"]
        for j in range(1, len(self.dense_layers) + 1):
            x = getattr(self, f"dense{j}")(x)
        return {**endpoints, "final_avg_pool": x}

    def compute_output_shape(self, input_shape: tuple) -> dict:
        widths = (symbolic_shapes(self.base)[1][-1], *self.dense_layers)
        return {"pooled": (input_shape[0], widths[0]), "final_avg_pool": (input_shape[0], widths[-1])}

    def _check_shapes(self):
        if shapes := symbolic_shapes(self.base):
            check_shapes(*shapes)
            self.image_size = shapes[0][1]

    def check_images(self, shape: tuple) -> None:
        """Raise InputError if images of this shape are not of the size the network was built for."""
        side = self.image_size
        if side is not None and any(size not in (None, side) for size in shape[1:3]):
            raise InputError(
                f"images must be {side} x {side} pixels, as {self.source} was built for. "
                f"Received: {shape[1]} x {shape[2]}"
            )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            **self._config_of_network(),
            "dense_layers": list(self.dense_layers),
            "backbone_trainable": self.backbone_trainable,
        }

    def _config_of_network(self):
        network = keras.saving.serialize_keras_object(self.base)
        return {"network": network, "pixel_range": self.pixel_range}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "ForeignEncoder":
        if "network" in config:
            network = keras.saving.deserialize_keras_object(config["network"], custom_objects=custom_objects)
            config = {**config, "network": network}
        return cls(**config)


def symbolic_shapes(network: keras.Model) -> tuple | None:
    """Return the shapes of a model's input and output; None if it is subclassed and was not called yet."""
    try:
        if hasattr(network, "input_shape"):
            return network.input_shape, network.output_shape
        return tuple(network.input.shape), keras.tree.map_structure(lambda x: tuple(x.shape), network.output)
    except (AttributeError, ValueError):
        return None


def check_shapes(inputs: tuple, outputs: tuple) -> None:
    """Raise InputError unless these are shapes of one input of images and one output of pooled features."""
    if not _is_shape(inputs) or len(inputs) != 4 or inputs[-1] != 3 or inputs[1] != inputs[2]:
        raise InputError(
            "an encoder takes one input, square images [n, h, h, 3]. "
            f"Received: a model with inputs of shape {inputs}"
        )
    if not _is_shape(outputs) or len(outputs) != 2:
        raise InputError(
            "an encoder has one output, features [n, d]: end the model with pooling, such as "
            f"keras.layers.GlobalAveragePooling2D(). Received: a model with outputs of shape {outputs}"
        )


def _is_shape(value):
    return isinstance(value, tuple) and all(isinstance(size, int | None) for size in value)


def check_pixel_range(pixel_range: PixelRange) -> PixelRange:
    """Return a pixel range as plain lists or a name, as a config holds it.

    Raises:
        InputError: it is none.
    """
    if pixel_range in ("caffe", "torch"):
        return pixel_range
    try:
        low, high = (np.asarray(bound, "float64") for bound in pixel_range)
        fits = {low.shape, high.shape} <= {(), (3,)} and np.all(low != high) and np.isfinite(high - low).all()
    except (TypeError, ValueError):
        fits = False
    if not fits or isinstance(pixel_range, str):
        raise InputError(
            "pixel_range must be the least and the greatest pixel, such as (0, 255), each a number or one for every "
            f"channel; or caffe or torch. Received: pixel_range={pixel_range!r}"
        )
    return [low.tolist(), high.tolist()]


def to_pixel_range(images: tf.Tensor, pixel_range: PixelRange) -> tf.Tensor:
    """Turn float [0, 1] images [n, h, w, 3] into the pixels that a network takes.

    Args:
        images: RGB.
        pixel_range: (least, greatest) pixel, each a number or one for every channel; "caffe" for BGR in [0, 255] less
            the mean of ImageNet; "torch" for [0, 1] standardized with ImageNet's mean and deviation.
    """
    if pixel_range == "caffe":
        return tf.reverse(images, [-1]) * 255 - tf.constant(CAFFE_MEAN, images.dtype)
    if pixel_range == "torch":
        return (images - tf.constant(MEAN, images.dtype)) / tf.constant(DEVIATION, images.dtype)
    low, high = (tf.constant(bound, images.dtype) for bound in pixel_range)
    return images * (high - low) + low
