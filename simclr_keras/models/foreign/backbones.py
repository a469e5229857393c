"""Encoders by name: networks of keras.applications (keras:NAME) and of keras-hub (hub:PRESET)."""

import contextlib
import math
import os
import warnings
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from simclr_keras.errors import InputError, one_line
from simclr_keras.models.backbone_names import (
    HUB_PREFIX,
    PREFIX,
    BackboneRecord,
    backbone_record,
    is_hub,
)
from simclr_keras.models.foreign.encoder import ForeignEncoder, PixelRange, check_pixel_range
from simclr_keras.models.foreign.weights import load_backbone_weights
from simclr_keras.models.heads import head_dtype

# Pixels in [0, 255] and means over many of them are for float32.
_ALWAYS_FLOAT = (
    keras.Model,  # whose layers cast for themselves
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.layers.GlobalAveragePooling2D,
)


@keras.saving.register_keras_serializable("simclr_keras")
class KerasBackbone(ForeignEncoder):
    """A network of keras.applications or keras-hub without its classifier, see `ForeignEncoder`.

    Args:
        application: name in keras.applications, such as "VGG16"; or hub:PRESET.
        image_size: height and width of the images in pixels; it takes no others.
        dense_layers: widths of the dense layers on top, of which there may be none.
        backbone_trainable: whether the network itself trains.

    Attributes:
        initial_weights: of the network when it is built, see `create_model`; they are no part of the config.

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
        super().__init__(None, (0, 1), dense_layers, backbone_trainable, name, **kwargs)
        self.application, self.image_size = application, image_size
        self.source = application if is_hub(application) else PREFIX + application
        self.initial_weights: str | os.PathLike | None = None
        if not is_hub(application):
            self.record = backbone_record(self.source)
            self.pixel_range = check_pixel_range(self.record.pixels)
        if keras.config.image_data_format() != "channels_last":
            raise InputError(
                "Keras backbones need Keras's image_data_format to be channels_last. "
                f"Received: image_data_format={keras.config.image_data_format()!r}"
            )

    def build(self, input_shape: tuple) -> None:
        weights = self.initial_weights
        with _default_dtype(self.dtype_policy.name):
            if is_hub(self.application):
                self.base, self.pixel_range = hub_network(
                    self.application, self.image_size, load_weights=weights == "preset"
                )
            else:
                self.base = stock_model(self.record, self.image_size)
        for layer in self.base._flatten_layers():
            if isinstance(layer, _ALWAYS_FLOAT):
                layer.dtype_policy = head_dtype(self.dtype_policy)
        if weights not in (None, "preset"):
            load_backbone_weights(
                self.base,
                weights,
                self.source,
                lambda: stock_model(self.record, self.record.weights_size, "imagenet"),
            )
        super().build(input_shape)

    def _config_of_network(self):
        return {"application": self.application, "image_size": self.image_size}


def stock_model(record: BackboneRecord, image_size: int, weights: str | None = None) -> keras.Model:
    """Return the network as keras.applications builds it, without classifier, global average at its end."""
    application = getattr(keras.applications, record.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is meant for its users, not ours
        return application(
            include_top=False, weights=weights, input_shape=(image_size, image_size, 3), pooling="avg"
        )


def hub_network(name: str, image_size: int, load_weights: bool) -> tuple[keras.Model, PixelRange]:
    """Return a backbone of keras-hub with pooling at its end, and the pixel range of its preset.

    Feature maps are averaged. Of a sequence of tokens the first is taken, the class token. If the tokens are the
    patches alone, whose number is a square, they are averaged.

    Args:
        name: hub:PRESET; PRESET as keras_hub.models.Backbone.from_preset takes it, a folder for instance.
        image_size: height and width of the images in pixels.
        load_weights: whether to load the preset's weights.

    Raises:
        InputError: there is no such preset for images of this size.
    """
    import keras_hub

    preset = name.removeprefix(HUB_PREFIX)
    try:
        backbone = keras_hub.models.Backbone.from_preset(
            preset, load_weights=load_weights, image_shape=(image_size, image_size, 3)
        )
    except Exception as error:  # whatever the network, the disk or a backbone of text may raise
        raise InputError(
            f"{name} cannot be built for images of {image_size} pixels ({one_line(error)}); give a preset of "
            "keras_hub.models.Backbone for images, its folder, or another image size."
        ) from error
    features = backbone.output
    rank = len(features.shape) if isinstance(features, keras.KerasTensor) else 0
    if rank == 3 and math.isqrt(features.shape[1]) ** 2 != features.shape[1]:
        features = features[:, 0]
    elif rank in (3, 4):
        pool = keras.layers.GlobalAveragePooling1D if rank == 3 else keras.layers.GlobalAveragePooling2D
        features = pool()(features)
    elif rank != 2:
        raise InputError(f"{name} has no single output; give a backbone for classification.")
    return keras.Model(backbone.input, features), _pixel_range_of_preset(preset)


def _pixel_range_of_preset(preset):
    """Return the pixel range of a preset's image converter: pixels in [0, 255] times scale plus offset."""
    import keras_hub

    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception:  # a preset without a converter: then pixels go in as keras-hub loads them
        return check_pixel_range((0, 255))
    scale = np.broadcast_to(1.0 if converter.scale is None else converter.scale, 3)
    low = np.broadcast_to(0.0 if converter.offset is None else converter.offset, 3)
    return check_pixel_range((low, 255 * scale + low))


@contextlib.contextmanager
def _default_dtype(policy: str) -> Iterator[None]:
    """Build layers in this precision meanwhile: keras.applications takes no dtype."""
    before, floats = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx(head_dtype(policy))
    try:
        yield
    finally:
        keras.config.set_floatx(floats)
        keras.config.set_dtype_policy(before)
