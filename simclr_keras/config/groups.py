"""Groups of settings that several stages share, each a dataclass to inherit from."""

import dataclasses

from simclr_keras.config.option import option
from simclr_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Which encoder."""

    model: str = option(
        "r50_1x_sk0",
        "Encoder r{depth}_{width}x_sk{0,1}: depth 18 34 50 101 152 200, any width above 0.",
        group="Model",
    )
    image_size: int = option(
        224,
        "Side of the square images the network sees; 32 or less uses the small-image stem.",
        group="Model",
        unit="pixels",
        at_least=8,
        at_most=4096,
    )
    se_ratio: float = option(
        0.0, "Squeeze-and-excitation ratio; 0: none.", group="Model", at_least=0, at_most=1
    )


@dataclasses.dataclass(frozen=True)
class Head:
    """Which projection head."""

    proj_mode: str = option(
        "nonlinear", "Kind of projection head.", group="Model", choices=("nonlinear", "linear", "none")
    )
    proj_layers: int = option(3, "Layers of the projection head.", group="Model", at_least=1, at_most=16)
    proj_dim: int = option(128, "Output width of the projection head.", group="Model", at_least=1)
    proj_hidden_dim: int | None = option(
        None,
        "Width of its hidden layers; default: the encoder's output width, as published.",
        group="Model",
        at_least=1,
    )


@dataclasses.dataclass(frozen=True)
class Optimization:
    """How weights are moved. Defaults: the paper's pretraining (SimCLRv2, section 3 and appendix)."""

    batch_size: int = option(
        4096,
        "Images per step over all replicas.",
        group="Training",
        unit="images",
        at_least=2,
    )
    epochs: int = option(
        800, "Passes over the training images.", group="Training", unit="epochs", at_least=1, resume="up"
    )
    train_steps: int | None = option(
        None,
        "End the run, and its schedule, after so many steps of its epochs; default: after the last epoch.",
        group="Training",
        unit="steps",
        at_least=1,
    )
    optimizer: str = option(
        "lars",
        "lars; momentum (SGD, Nesterov); adamw.",
        group="Training",
        choices=("lars", "momentum", "adamw"),
    )
    learning_rate: float = option(
        0.1, "Base learning rate, scaled by --learning_rate_scaling.", group="Training", above=0
    )
    learning_rate_scaling: str = option(
        "sqrt",
        "Peak rate: linear = base * batch/256, sqrt = base * sqrt(batch), none = base.",
        group="Training",
        choices=("linear", "sqrt", "none"),
    )
    warmup_epochs: float = option(
        40.0, "Linear warm-up, followed by a cosine to zero.", group="Training", unit="epochs", at_least=0
    )
    momentum: float = option(0.9, "Momentum of lars and momentum.", group="Training", at_least=0, below=1)
    weight_decay: float = option(1e-4, "Weight decay (decoupled under adamw).", group="Training", at_least=0)

    def check_schedule(self):
        """Raises InputError where the warm-up does not fit."""
        if self.warmup_epochs > self.epochs:
            raise InputError(
                f"--warmup_epochs={self.warmup_epochs:g} is longer than the run of --epochs={self.epochs}: "
                "give fewer warm-up epochs (a recipe may have brought these), such as "
                f"--warmup_epochs={self.epochs / 10:g}."
            )


@dataclasses.dataclass(frozen=True)
class Views:
    """Crop, flip and color."""

    crop_min_area: float = option(
        0.08, "Smallest share of the image a crop may cover.", group="Views", above=0, at_most=1
    )
    crop_max_area: float = option(
        1.0, "Largest share of the image a crop may cover.", group="Views", above=0, at_most=1
    )
    crop_aspect: float = option(
        4 / 3, "Crops are at most this much wider than high, or higher than wide.", group="Views", at_least=1
    )
    flip_probability: float = option(
        0.5, "Probability of a left-right flip.", group="Views", at_least=0, at_most=1
    )
    color_strength: float = option(
        1.0, "Strength s of the color jitter; 0 leaves colors and gray alone.", group="Views", at_least=0
    )
    jitter_probability: float = option(
        0.8, "Probability of the color jitter.", group="Views", at_least=0, at_most=1
    )
    brightness: float = option(0.8, "Brightness range per unit of strength.", group="Views", at_least=0)
    contrast: float = option(0.8, "Contrast range per unit of strength.", group="Views", at_least=0)
    saturation: float = option(0.8, "Saturation range per unit of strength.", group="Views", at_least=0)
    hue: float = option(0.2, "Hue range per unit of strength.", group="Views", unit="turns", at_least=0)
    brightness_mode: str = option(
        "multiply", "multiply (v2) or add (v1).", group="Views", choices=("multiply", "add")
    )
    grayscale_probability: float = option(
        0.2, "Probability of turning gray.", group="Views", at_least=0, at_most=1
    )

    def check_views(self):
        """Raises InputError where a range does not rise."""
        check_range(self, "crop_min_area", "crop_max_area")


def check_range(config, low, high):
    """Raises InputError unless the field `high` is at least the field `low`."""
    smallest, largest = getattr(config, low), getattr(config, high)
    if largest < smallest:
        raise InputError(f"--{high}={largest} is below --{low}={smallest}: give a range that rises.")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """When the evaluation split is looked at."""

    eval_every_epochs: int = option(
        0,
        "Evaluate every so many epochs, and always at the end; 0: ten times in a run.",
        group="Evaluation",
        unit="epochs",
        at_least=0,
        resume="free",
    )
    eval_batch_size: int = option(
        0,
        "Images per evaluation step; 0: as in training, at most 256.",
        group="Evaluation",
        unit="images",
        at_least=0,
        resume="free",
    )


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """The weighted kNN."""

    knn_k: int = option(
        200,
        "Neighbors of the weighted kNN (capped by the bank).",
        group="Evaluation",
        at_least=1,
    )
    knn_temperature: float = option(0.1, "Temperature of the kNN weights.", group="Evaluation", above=0)
    knn_bank_size: int = option(
        100_000,
        "Most labeled training images kept as kNN bank (a seeded choice beyond that).",
        group="Evaluation",
        unit="images",
        at_least=1,
    )
