"""Any network of keras.applications as an encoder, with dense layers on top."""

import warnings
from collections.abc import Sequence

import keras
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.backbone_layers import converted
from simclr_keras.models.backbone_names import PREFIX, BackboneRecord, backbone_record
from simclr_keras.models.heads import head_dtype
from simclr_keras.models.image_model import ImageModel

# The statistics of ImageNet, for pixels in [0, 1], red first.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# As Caffe's networks knew it: for pixels in [0, 255], blue first.
CAFFE_MEAN = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable("simclr_keras")
class KerasBackbone(ImageModel):
    """A network of keras.applications without its classifier; float [0, 1] images [n, h, w, 3] -> dict of endpoints.

    Endpoints: pooled [n, c], the global average of the network's output, and final_avg_pool [n, d], the output
    of the dense layers (with bias and ReLU); both float32 (float64 under float64). Pixels are scaled inside as the
    network needs them. Its batch normalization is ours, with the statistics of the batch of all replicas and a
    momentum of at most 0.9, so that few steps of fine-tuning suffice for the moving statistics.

    Args:
        application: name in keras.applications, such as "VGG16".
        image_size: height and width of the images in pixels; it takes no others.
        dense_layers: widths of the dense layers on top, of which there may be none.
        backbone_trainable: whether the network itself trains. If not it is in inference mode, and `trainable = True`
            reaches the dense layers alone.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        application: str,
        image_size: int = 224,
        dense_layers: Sequence[int] = (256,),
        backbone_trainable: bool = True,
        name: str = "encoder",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.record = backbone_record(f"{PREFIX}{application}")
        if image_size < self.record.min_size:
            raise InputError(
                f"image_size must be at least {self.record.min_size} pixels for {PREFIX}{application}. "
                f"Received: image_size={image_size}"
            )
        if any(units < 1 for units in dense_layers):
            raise InputError(
                f"dense_layers must be 1 or more each. Received: dense_layers={tuple(dense_layers)}"
            )
        if keras.config.image_data_format() != "channels_last":
            raise InputError(
                "Keras backbones need Keras's image_data_format to be channels_last. "
                f"Received: image_data_format={keras.config.image_data_format()!r}"
            )
        self.application = application
        self.image_size = image_size
        self.dense_layers = tuple(dense_layers)
        self.backbone_trainable = backbone_trainable
        self.base = None

    def build(self, input_shape: tuple) -> None:
        stock = stock_model(self.record, self.image_size)
        with keras.name_scope("base"):
            self.base = converted(stock, self.dtype_policy.name)
        width = self.base.output_shape[-1]
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
        self.base.trainable = self.trainable and self.backbone_trainable

    @property
    def trainable(self) -> bool:
        return keras.Model.trainable.fget(self)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        if self.base is not None and not self.backbone_trainable:
            self.base.trainable = False

    def call(self, images: tf.Tensor, training: bool = False) -> dict:
        pixels = preprocessed(tf.cast(images, head_dtype(self.dtype_policy)), self.record.pixels)
        # Beside batch normalization, dropped branches stand still in a frozen network.
        x = self.base(pixels, training=bool(training) and self.base.trainable)
        endpoints = {"pooled": tf.cast(x, pixels.dtype)}
        x = endpoints["pooled"]
        for j in range(1, len(self.dense_layers) + 1):
            x = getattr(self, f"dense{j}")(x)
        return {**endpoints, "final_avg_pool": x}

    def compute_output_shape(self, input_shape: tuple) -> dict:
        widths = (self.base.output_shape[-1], *self.dense_layers)
        return {"pooled": (input_shape[0], widths[0]), "final_avg_pool": (input_shape[0], widths[-1])}

    def check_images(self, shape: tuple) -> None:
        """Raise InputError if images of this shape are not of the size the network was built for."""
        if any(size not in (None, self.image_size) for size in shape[1:3]):
            raise InputError(
                f"images must be {self.image_size} x {self.image_size} pixels, as {PREFIX}{self.application} was "
                f"built for. Received: {shape[1]} x {shape[2]}"
            )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "application": self.application,
            "image_size": self.image_size,
            "dense_layers": list(self.dense_layers),
            "backbone_trainable": self.backbone_trainable,
        }


def stock_model(record: BackboneRecord, image_size: int, weights: str | None = None) -> keras.Model:
    """Return the network as keras.applications builds it, without classifier, global average at its end."""
    application = getattr(keras.applications, record.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is meant for its users, not ours
        return application(
            include_top=False, weights=weights, input_shape=(image_size, image_size, 3), pooling="avg"
        )


def preprocessed(images: tf.Tensor, pixels: str) -> tf.Tensor:
    """Turn float [0, 1] images [n, h, w, 3] into the pixel range of a network; see `BackboneRecord.pixels`."""
    if pixels == "caffe":
        return tf.reverse(images, [-1]) * 255 - tf.constant(CAFFE_MEAN, images.dtype)
    if pixels == "tf":
        return images * 2 - 1
    if pixels == "torch":
        return (images - tf.constant(MEAN, images.dtype)) / tf.constant(DEVIATION, images.dtype)
    return images * 255
