"""The settings of --mode=pretrain: contrastive learning, its views, and how the representation is watched."""

import dataclasses

from simclr_keras.errors import InputError
from simclr_keras.training.options import option
from simclr_keras.training.stage_config import StageConfig


@dataclasses.dataclass(frozen=True)
class PretrainConfig(StageConfig):
    """Contrastive pretraining (SimCLRv2, section 2 and appendix). Defaults: the paper's ImageNet recipe."""

    batch_size: int = option(
        4096,
        "Images per step over all replicas (each gives two views).",
        group="Training",
        unit="images",
        at_least=2,
    )
    epochs: int = option(
        800, "Passes over the training images.", group="Training", unit="epochs", at_least=1, resume="up"
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
    temperature: float = option(0.1, "Temperature of NT-Xent.", group="Training", above=0)

    crop_min_area: float = option(
        0.08, "Smallest share of the image a crop may cover.", group="Views", above=0, at_most=1
    )
    crop_max_area: float = option(
        1.0, "Largest share of the image a crop may cover.", group="Views", above=0, at_most=1
    )
    crop_aspect: float = option(
        4 / 3, "Crops are at most this much wider than high, or higher than wide.", group="Views", at_least=1
    )
    random_crop: bool = option(
        True, "Crop at random; otherwise every view is the evaluation window.", group="Views"
    )
    flip_probability: float = option(
        0.5, "Probability of a left-right flip.", group="Views", at_least=0, at_most=1
    )
    color_strength: float = option(
        1.0, "Strength s of the colour jitter; 0 leaves colours and grey alone.", group="Views", at_least=0
    )
    jitter_probability: float = option(
        0.8, "Probability of the colour jitter.", group="Views", at_least=0, at_most=1
    )
    brightness: float = option(0.8, "Brightness range per unit of strength.", group="Views", at_least=0)
    contrast: float = option(0.8, "Contrast range per unit of strength.", group="Views", at_least=0)
    saturation: float = option(0.8, "Saturation range per unit of strength.", group="Views", at_least=0)
    hue: float = option(0.2, "Hue range per unit of strength.", group="Views", unit="turns", at_least=0)
    brightness_mode: str = option(
        "multiply", "multiply (v2) or add (v1).", group="Views", choices=("multiply", "add")
    )
    grayscale_probability: float = option(
        0.2, "Probability of turning grey.", group="Views", at_least=0, at_most=1
    )
    blur_probability: float = option(
        0.5, "Probability of a Gaussian blur; 0: none.", group="Views", at_least=0, at_most=1
    )
    blur_sigma_min: float = option(0.1, "Smallest blur sigma.", group="Views", unit="pixels", above=0)
    blur_sigma_max: float = option(2.0, "Largest blur sigma.", group="Views", unit="pixels", above=0)

    probe_layer: int = option(
        0,
        "Projection head layer under the online linear probe (0: the encoder's output).",
        group="Evaluation",
        at_least=0,
    )
    probe_learning_rate: float = option(
        0.1,
        "Base learning rate of the online probe (times batch/256; momentum).",
        group="Evaluation",
        above=0,
    )
    eval_every: int = option(
        0,
        "Evaluate kNN and probe every so many epochs, and always at the end; 0: ten times in a run.",
        group="Evaluation",
        unit="epochs",
        at_least=0,
        resume="free",
    )
    eval_batch_size: int = option(
        0,
        "Images per evaluation step; 0: as in training.",
        group="Evaluation",
        unit="images",
        at_least=0,
        resume="free",
    )
    knn_k: int = option(
        200,
        "Neighbours of the weighted kNN (capped by the bank).",
        group="Evaluation",
        at_least=1,
    )
    knn_temperature: float = option(0.1, "Temperature of the kNN weights.", group="Evaluation", above=0)
    knn_bank: int = option(
        100_000,
        "Most labelled training images kept as kNN bank (a seeded choice beyond that).",
        group="Evaluation",
        unit="images",
        at_least=1,
    )
    baselines: bool = option(
        False,
        "Before training, also report kNN on raw pixels and on the untrained encoder, with logistic regression on the "
        "latter, and at the end both on the trained one.",
        group="Evaluation",
    )

    def validate(self):
        super().validate()
        for low, high in (("crop_min_area", "crop_max_area"), ("blur_sigma_min", "blur_sigma_max")):
            smallest, largest = getattr(self, low), getattr(self, high)
            if largest < smallest:
                raise InputError(f"--{high}={largest} is below --{low}={smallest}: give a range that rises.")
        if self.warmup_epochs > self.epochs:
            raise InputError(
                f"--warmup_epochs={self.warmup_epochs:g} is longer than the run of --epochs={self.epochs}: "
                "give fewer warm-up epochs."
            )
        layers = {"nonlinear": self.proj_layers, "linear": 1, "none": 0}[self.proj_mode]
        if self.probe_layer > layers:
            raise InputError(
                f"--probe_layer={self.probe_layer} is beyond the projection head, which has layers 0 to {layers}."
            )
