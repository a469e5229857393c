"""The networks of keras.applications by name: their pixel ranges and smallest image sizes."""

import dataclasses
import difflib

from simclr_keras.errors import InputError

PREFIX = "keras:"


@dataclasses.dataclass(frozen=True)
class BackboneRecord:
    """A network of keras.applications.

    Attributes:
        name: as in keras.applications.
        pixels: range of its input: "caffe" (BGR in [0, 255] less the mean of ImageNet), "tf" ([-1, 1]), "torch" ([0, 1]
            standardized with ImageNet's mean and deviation) or "inside" ([0, 255], scaled within the network).
        min_size: least height and width of the images in pixels.
        weights_size: a size of image at which Keras gives the pretrained weights, which fit any.
    """

    name: str
    pixels: str
    min_size: int = 32
    weights_size: int = 224


def _family(pixels, names, **sizes):
    return [BackboneRecord(name, pixels, **sizes) for name in names.split()]


BACKBONES = {
    record.name: record
    for record in (
        *_family("caffe", "VGG16 VGG19 ResNet50 ResNet101 ResNet152"),
        *_family("tf", "ResNet50V2 ResNet101V2 ResNet152V2 MobileNet MobileNetV2 NASNetMobile"),
        *_family("tf", "NASNetLarge", weights_size=331),
        *_family("tf", "InceptionV3 InceptionResNetV2", min_size=75),
        *_family("tf", "Xception", min_size=71),
        *_family("torch", "DenseNet121 DenseNet169 DenseNet201"),
        *_family("inside", "MobileNetV3Small MobileNetV3Large"),
        *_family("inside", "EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3"),
        *_family("inside", "EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7"),
        *_family("inside", "EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3"),
        *_family("inside", "EfficientNetV2S EfficientNetV2M EfficientNetV2L"),
        *_family("inside", "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge"),
    )
}


def is_backbone(name: str) -> bool:
    """Return whether a model's name begins with keras:."""
    return str(name).lower().startswith(PREFIX)


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
