"""Settings of the augmentation: which operations are on, and their strengths."""

import dataclasses
from typing import ClassVar

from simclr_keras.config.option import nearest, option
from simclr_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Views:
    """Crop, flip and color of training images. Defaults: SimCLR, appendix A."""

    AUGMENTATIONS: ClassVar[tuple[str, ...]] = ("crop", "flip", "color", "autoaugment")

    augment: str = option(
        "crop,flip",
        "Augmentations, separated by commas: crop, flip, color, blur (only pretrain), autoaugment (not pretrain); "
        "or none. Without crop, each view is the evaluation window.",
        group="Views",
    )
    crop_min_area: float = option(
        0.08,
        "Smallest share of the image that a crop covers. Crops below 0.1 are drawn again, as in the release.",
        group="Views",
        above=0,
        at_most=1,
    )
    crop_max_area: float = option(
        1.0, "Largest share of the image that a crop covers.", group="Views", above=0, at_most=1
    )
    crop_aspect: float = option(
        4 / 3,
        "Largest ratio of the longer to the shorter side of a crop.",
        group="Views",
        at_least=1,
        default_words="4/3",
    )
    flip_probability: float = option(
        0.5, "Probability of a left-right flip.", group="Views", at_least=0, at_most=1
    )
    color_strength: float = option(
        1.0, "Strength of the color jitter; 0 turns off jitter and grayscale.", group="Views", at_least=0
    )
    jitter_probability: float = option(
        0.8, "Probability of the color jitter.", group="Views", at_least=0, at_most=1
    )
    brightness: float = option(0.8, "Brightness range per unit of strength.", group="Views", at_least=0)
    contrast: float = option(0.8, "Contrast range per unit of strength.", group="Views", at_least=0)
    saturation: float = option(0.8, "Saturation range per unit of strength.", group="Views", at_least=0)
    hue: float = option(0.2, "Hue range per unit of strength.", group="Views", unit="turns", at_least=0)
    brightness_mode: str = option(
        "multiply", "multiply (SimCLRv2) or add (SimCLR).", group="Views", choices=("multiply", "add")
    )
    grayscale_probability: float = option(
        0.2, "Probability of grayscale.", group="Views", at_least=0, at_most=1
    )

    @property
    def augmentations(self) -> set[str]:
        """The augmentations that are on."""
        return {*self.augment.split(",")} - {"none"}

    def check_views(self) -> None:
        """Raise InputError for an unknown augmentation or an empty range."""
        check_range(self, "crop_min_area", "crop_max_area")
        words = self.augment.split(",")
        for word in words:
            if word not in (*self.AUGMENTATIONS, "none"):
                hint = nearest(word, self.AUGMENTATIONS)
                raise InputError(
                    f"--augment={self.augment}: {word!r} is unknown or not for this stage: {hint}"
                )
        if "none" in words and len(words) > 1:
            raise InputError(f"--augment={self.augment} combines none with others; give one of the two.")


def check_range(config: object, low: str, high: str) -> None:
    """Raise InputError if the field `high` is below the field `low`."""
    smallest, largest = getattr(config, low), getattr(config, high)
    if largest < smallest:
        raise InputError(f"--{high}={largest} is below --{low}={smallest}: give a larger --{high}.")
