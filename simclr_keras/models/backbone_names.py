"""Names of foreign encoders: keras:NAME with pixel range and smallest image size of each network, and hub:PRESET."""

import dataclasses
import difflib
import importlib.util
import os

from simclr_keras import packages
from simclr_keras.errors import InputError

PREFIX = "keras:"
HUB_PREFIX = "hub:"


@dataclasses.dataclass(frozen=True)
class BackboneRecord:
    """A network of keras.applications.

    Attributes:
        name: as in keras.applications.
        pixels: range of its input: least and greatest pixel, "caffe" (BGR in [0, 255] less the mean of ImageNet) or
            "torch" ([0, 1] standardized with ImageNet's mean and deviation).
        min_size: least height and width of the images in pixels.
        weights_size: a size of image at which Keras gives the pretrained weights, which fit any.
    """

    name: str
    pixels: str | tuple[int, int]
    min_size: int = 32
    weights_size: int = 224


def _family(pixels, names, **sizes):
    return [BackboneRecord(name, pixels, **sizes) for name in names.split()]


BACKBONES = {
    record.name: record
    for record in (
        *_family("caffe", "VGG16 VGG19 ResNet50 ResNet101 ResNet152"),
        *_family((-1, 1), "ResNet50V2 ResNet101V2 ResNet152V2 MobileNet MobileNetV2 NASNetMobile"),
        *_family((-1, 1), "NASNetLarge", weights_size=331),
        *_family((-1, 1), "InceptionV3 InceptionResNetV2", min_size=75),
        *_family((-1, 1), "Xception", min_size=71),
        *_family("torch", "DenseNet121 DenseNet169 DenseNet201"),
        *_family((0, 255), "MobileNetV3Small MobileNetV3Large"),
        *_family((0, 255), "EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3"),
        *_family((0, 255), "EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7"),
        *_family((0, 255), "EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3"),
        *_family((0, 255), "EfficientNetV2S EfficientNetV2M EfficientNetV2L"),
        *_family((0, 255), "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge"),
    )
}


def is_backbone(name: str) -> bool:
    """Return whether a model's name begins with keras: or hub:."""
    return str(name).lower().startswith(PREFIX) or is_hub(name)


def is_hub(name: str) -> bool:
    """Return whether a model's name begins with hub:."""
    return str(name).startswith(HUB_PREFIX)


def check_backbone(
    name: str,
    image_size: int | None,
    weights: str | os.PathLike | None,
    se_ratio: float | None,
    dashes: str = "",
) -> None:
    """Raise InputError if keras:NAME or hub:PRESET cannot be built with these arguments of `create_model`.

    The message names them, with `dashes` in front if they are flags.
    """
    if is_hub(name) and importlib.util.find_spec("keras_hub") is None:
        raise InputError(packages.remedy("keras_hub"))
    published = "preset" if is_hub(name) else "imagenet"
    if weights in {"preset", "imagenet"} - {published}:
        raise InputError(f"{dashes}backbone_weights={weights} is not for {name}: give {published} or a file.")
    least = 1 if is_hub(name) else backbone_record(name).min_size
    if image_size is not None and image_size < least:
        raise InputError(
            f"{dashes}image_size={image_size} is too small for {name}: it must be at least {least}."
        )
    if se_ratio:
        raise InputError(f"{dashes}se_ratio={se_ratio} is not for {name}; leave it at 0.")


def backbone_record(name: str) -> BackboneRecord:
    """Return the BackboneRecord for keras:NAME.

    Raises:
        InputError: there is no such network; the message names the nearest one.
    """
    application = str(name).removeprefix(PREFIX)
    if str(name).startswith(PREFIX) and application in BACKBONES:
        return BACKBONES[application]
    by_lower_case = {name.lower(): name for name in BACKBONES}
    lower = str(name).lower().removeprefix(PREFIX)
    nearest = by_lower_case[difflib.get_close_matches(lower, by_lower_case, n=1, cutoff=0.0)[0]]
    raise InputError(
        f"Unknown Keras backbone; names read {PREFIX}NAME with NAME as in keras.applications. "
        f"Did you mean {PREFIX}{nearest}? Received: name={name!r}"
    )
