"""Settings of the network: encoder, projection head, and what only keras: and hub: backbones have."""

import dataclasses

from simclr_keras.config.option import option
from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import check_backbone, is_backbone
from simclr_keras.models.zoo import check_name


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The encoder."""

    model: str = option(
        "r50_1x_sk0",
        "Encoder r{depth}_{width}x_sk{0,1}: depth 18 34 50 101 152 200, any width above 0. Or keras:NAME of "
        "keras.applications, such as keras:ConvNeXtTiny, or hub:PRESET of keras-hub.",
        group="Model",
    )
    image_size: int = option(
        224,
        "Side of the square images the network sees. With 32 or less the first convolution has stride 1 and no "
        "pooling follows.",
        group="Model",
        unit="pixels",
        at_least=8,
        at_most=4096,
    )
    se_ratio: float = option(
        0.0, "Squeeze-and-excitation ratio; 0 turns it off.", group="Model", at_least=0, at_most=1
    )


@dataclasses.dataclass(frozen=True)
class Head:
    """The projection head."""

    proj_mode: str = option(
        "nonlinear", "Kind of projection head.", group="Model", choices=("nonlinear", "linear", "none")
    )
    proj_layers: int = option(3, "Layers of the projection head.", group="Model", at_least=1, at_most=16)
    proj_dim: int = option(128, "Output width of the projection head.", group="Model", at_least=1)
    proj_hidden_dim: int | None = option(
        None,
        "Width of its hidden layers.",
        group="Model",
        at_least=1,
        default_words="the encoder's output width",
    )


@dataclasses.dataclass(frozen=True)
class Backbone:
    """Settings of backbones, such as keras:VGG16 and hub:PRESET; a class beside it has model and image_size."""

    backbone_weights: str | None = option(
        None,
        "Initial weights of a backbone: imagenet (keras:), preset (hub:), or a weights file.",
        group="Model",
        default_words="random",
    )
    freeze_backbone: bool = option(
        False, "Freeze a keras: or hub: backbone and train only the layers on it.", group="Model"
    )
    dense_layers: str | None = option(
        None,
        "Widths of dense layers on a keras: or hub: backbone, such as 256,128.",
        group="Model",
        default_words="none",
    )

    @property
    def dense_widths(self) -> tuple[int, ...]:
        return tuple(int(word) for word in (self.dense_layers or "").split(",") if word)

    def check_backbone(self, model: str | None, image_size: int | None, se_ratio: float | None) -> None:
        """Raise InputError if the settings do not suit the model."""
        for word in (self.dense_layers or "").split(","):
            if self.dense_layers is not None and not (word.isdecimal() and int(word) > 0):
                raise InputError(f"--dense_layers={self.dense_layers}: give widths, such as 256,128.")
        if model is None:
            return
        check_name(model)
        if not is_backbone(model):
            for name in ("backbone_weights", "freeze_backbone", "dense_layers"):
                if getattr(self, name):
                    raise InputError(f"--{name} is for models such as keras:VGG16, not for --model={model}.")
            return
        check_backbone(model, image_size, self.backbone_weights, se_ratio, dashes="--")
