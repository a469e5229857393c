"""Encoders by name: networks of keras.applications (keras:NAME) and of keras-hub (hub:PRESET)."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence

import keras

from simclr_keras.errors import InputError, one_line
from simclr_keras.models.backbone_names import (
    HUB_PREFIX,
    PREFIX,
    BackboneRecord,
    backbone_record,
    check_hub_installed,
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
        self.application, self._image_size = application, image_size
        self.initial_weights: str | os.PathLike | None = None
        if is_hub(application):
            check_hub_installed(application)
        else:
            self.record = backbone_record(self.source)
            self.pixel_range = check_pixel_range(self.record.pixels)
            if image_size < self.record.min_size:
                raise InputError(
                    f"image_size must be at least {self.record.min_size} pixels for {self.source}. "
                    f"Received: image_size={image_size}"
                )
        if keras.config.image_data_format() != "channels_last":
            raise InputError(
                "Keras backbones need Keras's image_data_format to be channels_last. "
                f"Received: image_data_format={keras.config.image_data_format()!r}"
            )

    @property
    def image_size(self) -> int:
        return self._image_size

    @property
    def source(self) -> str:
        return self.application if is_hub(self.application) else PREFIX + self.application

    def build(self, input_shape: tuple) -> None:
        weights = self.initial_weights
        with _default_dtype(self.dtype_policy.name):
            if is_hub(self.application):
                self.base, self.pixel_range = hub_network(
                    self.application, self._image_size, load_weights=weights == "preset"
                )
            else:
                self.base = stock_model(self.record, self._image_size)
        for layer in self.base._flatten_layers():
            if isinstance(layer, _ALWAYS_FLOAT):
                layer.dtype_policy = head_dtype(self.dtype_policy)
        if weights not in (None, "preset"):
            load_backbone_weights(self.base, weights, self.source, self._published_network)
        super().build(input_shape)

    def _published_network(self) -> keras.Model:
        return stock_model(self.record, self.record.weights_size, "imagenet")

    def get_config(self) -> dict:
        config = super().get_config() | {"application": self.application, "image_size": self._image_size}
        del config["network"], config["pixel_range"]
        return config


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

    Feature maps are averaged. Of a sequence of tokens the class token is taken if there is one, else their mean.

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
    images = backbone.input
    features = backbone.output
    if not isinstance(features, keras.KerasTensor) or len(features.shape) not in (2, 3, 4):
        raise InputError(f"{name} has no single output; give a backbone for classification.")
    if len(features.shape) == 3 and getattr(backbone, "use_class_token", True):
        features = features[:, 0]
    elif len(features.shape) == 3:
        features = keras.layers.GlobalAveragePooling1D()(features)
    elif len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, features), _pixel_range_of_preset(preset)


def _pixel_range_of_preset(preset):
    """Return the pixel range of a preset's image converter: pixels in [0, 255] times scale plus offset."""
    import keras_hub

    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception:  # a preset without a converter: then pixels go in as keras-hub loads them
        return check_pixel_range((0, 255))
    scale, offset = (
        [float(number) for number in value] if isinstance(value, Sequence) else value
        for value in (converter.scale, converter.offset)
    )
    scales = scale if isinstance(scale, list) else [1.0 if scale is None else float(scale)] * 3
    low = offset if isinstance(offset, list) else [float(offset or 0)] * 3
    return check_pixel_range((low, [255 * factor + least for factor, least in zip(scales, low)]))


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
