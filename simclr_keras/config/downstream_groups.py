"""Groups of settings that the stages after pretraining share, each a dataclass to inherit from."""

import dataclasses
from typing import ClassVar

from simclr_keras.config import groups
from simclr_keras.config.option import nearest, option
from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import backbone_record, is_backbone
from simclr_keras.models.zoo import check_name

AUGMENTATIONS = ("crop", "flip", "color", "autoaugment")


@dataclasses.dataclass(frozen=True)
class LabeledViews(groups.Views):
    """The views of a stage that trains a classifier: each augmentation can be switched."""

    augment: str = option(
        "crop,flip",
        "Augmentations, separated by commas: crop, flip, color, autoaugment; or none.",
        group="Views",
    )

    @property
    def augmentations(self):
        """The set of those that are on."""
        return {*self.augment.split(",")} - {"none", ""}

    def check_views(self):
        super().check_views()
        for word in self.augment.split(","):
            if word not in (*AUGMENTATIONS, "none"):
                raise InputError(
                    f"--augment={self.augment}: {word!r} is not known: {nearest(word, AUGMENTATIONS)}"
                )
        if self.augment != "none" and "none" in self.augment.split(","):
            raise InputError(f"--augment={self.augment} says none and some; give one of the two.")


@dataclasses.dataclass(frozen=True)
class Start:
    """The earlier run that a stage starts from."""

    RUN_FLAGS: ClassVar[tuple[str, ...]] = ("init",)

    init: str | None = option(
        None, "Run directory of an earlier, finished stage to start from.", group="Chain"
    )
    init_checkpoint: str = option(
        "last",
        "Which of its weights: last, or best on its evaluation split.",
        group="Chain",
        choices=("last", "best"),
    )
    model: str | None = option(
        None, "Encoder; default, and if given the same: that of --init.", group="Model"
    )
    image_size: int | None = option(
        None,
        "Side of the square images the network sees; default: that of --init.",
        group="Model",
        unit="pixels",
        at_least=8,
        at_most=4096,
    )

    @property
    def inherits_from(self):
        return self.init

    def check_start(self):
        """Raises InputError unless there is a run to start from."""
        if self.init is None:
            raise InputError(
                "--init is missing: give the run directory of an earlier stage, such as --init=runs/pretrain-..."
            )


@dataclasses.dataclass(frozen=True)
class Student:
    """What only a network out of keras.applications has."""

    backbone_weights: str | None = option(
        None,
        "Weights a keras: backbone starts from: imagenet, or a weights file; default: random.",
        group="Model",
    )
    freeze_backbone: bool = option(
        False, "Leave a keras: backbone as it is, and train what stands on it.", group="Model"
    )
    dense_layers: str | None = option(
        None, "Widths of dense layers on a keras: backbone, such as 256,128; default: none.", group="Model"
    )

    @property
    def dense_widths(self):
        """The widths as a tuple of int."""
        return tuple(int(word) for word in (self.dense_layers or "").split(",") if word)

    def check_student(self):
        """Raises InputError where the settings do not suit the model."""
        for word in (self.dense_layers or "").split(","):
            if self.dense_layers is not None and not (word.isdecimal() and int(word) > 0):
                raise InputError(f"--dense_layers={self.dense_layers}: give widths, such as 256,128.")
        if self.model is None:
            return
        check_name(self.model)
        if is_backbone(self.model):
            self._check_backbone()
            return
        for name in ("backbone_weights", "freeze_backbone", "dense_layers"):
            if getattr(self, name):
                raise InputError(f"--{name} is for models such as keras:VGG16, not for --model={self.model}.")

    def _check_backbone(self):
        least = backbone_record(self.model).min_size
        if self.image_size is not None and self.image_size < least:
            raise InputError(
                f"--image_size={self.image_size} is too small for --model={self.model}: it must be at least {least}."
            )
        if self.se_ratio:
            raise InputError(f"--se_ratio is not for --model={self.model}; leave it at 0.")
