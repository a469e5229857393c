"""The settings of the stages that train a classifier on labels: fine-tuning, linear evaluation, supervised training."""

import dataclasses
from typing import Literal

from simclr_keras.config.base import StageConfig
from simclr_keras.config.groups.evaluation import EvaluationOfClassifier
from simclr_keras.config.groups.model import Architecture, Backbone
from simclr_keras.config.groups.start import Start
from simclr_keras.config.groups.training import BatchStatistics, ClassWeights, Optimization, Rematerialization
from simclr_keras.config.groups.views import Views
from simclr_keras.config.option import again, option
from simclr_keras.models.zoo import is_wide_or_selective

PLAIN_RATE, LARGE_RATE = 0.005, 0.002  # base rates of fine-tuning (SimCLRv2, section 3)


def finetuning_rate(model: str) -> float:
    """Return the paper's base rate for fine-tuning: lower for a wider network or one with selective kernels."""
    return LARGE_RATE if is_wide_or_selective(model) else PLAIN_RATE


@dataclasses.dataclass(frozen=True)
class FinetuneConfig(
    EvaluationOfClassifier,
    ClassWeights,
    Views,
    Rematerialization,
    BatchStatistics,
    Optimization,
    Start,
    StageConfig,
):
    """Fine-tuning from a layer of the projection head (SimCLRv2, section 2). Defaults: the paper's, 1 % of ImageNet."""

    NAME = "finetune"
    MODULE = "simclr_keras.training.stages.finetune"

    batch_size: int = again(
        Optimization,
        "batch_size",
        default=1024,
        help="Images per step over all replicas. If there are fewer labeled images, a batch repeats them.",
    )
    epochs: int = again(Optimization, "epochs", default=60)
    learning_rate: float | None = again(  # type: ignore[assignment]  # None: the network decides
        Optimization,
        "learning_rate",
        default=None,
        default_words="0.002 for networks wider than 1x or with selective kernels, else 0.005",
    )
    warmup_epochs: float | None = again(Optimization, "warmup_epochs", default=0.0, default_words=None)
    weight_decay: float = again(Optimization, "weight_decay", default=0.0)
    head_layer: int | Literal["auto"] | None = option(
        None,
        "Projection head layer under the classifier: 0 (the encoder's output) to the last, or auto: cross-validated on "
        "the labeled images. Layers above it are dropped.",
        group="Model",
        at_least=0,
        default_words="1, or 0 if the head has fewer than 2 layers",
    )
    classifier_init: str = option(
        "normal",
        "Initial weights of the classifier: normal (standard deviation 0.01) or zeros.",
        group="Model",
        choices=("normal", "zeros"),
    )
    freeze_through: int = option(
        -1,
        "Last part of the encoder that is frozen: 0 the stem, 1-3 that block group, 4 the whole encoder; -1 nothing.",
        group="Training",
        at_least=-1,
        at_most=4,
    )
    label_smoothing: float = option(
        0.0, "Share of the target spread over all classes.", group="Training", at_least=0, below=1
    )
    cv_folds: int = option(
        3, "Folds of the cross-validation of --head_layer=auto.", group="Model", at_least=2, at_most=20
    )

    def validate(self) -> None:
        super().validate()
        self.check_remat(self.model)
        self.check_views()
        self.check_schedule()


@dataclasses.dataclass(frozen=True)
class LinearEvalConfig(EvaluationOfClassifier, ClassWeights, Views, Optimization, Start, StageConfig):
    """A linear classifier on frozen features (SimCLRv2, appendix; SimCLR, B.6). Defaults: the paper's for ImageNet."""

    NAME = "linear_eval"
    MODULE = "simclr_keras.training.stages.linear_eval"

    protocol: str = option(
        "paper",
        "paper: momentum SGD on augmented crops, encoder frozen; fast: scikit-learn's logistic regression on features "
        "computed once.",
        group="Evaluation",
        choices=("paper", "fast"),
    )
    epochs: int = again(Optimization, "epochs", default=90)
    optimizer: str = again(Optimization, "optimizer", default="momentum")
    learning_rate: float = again(Optimization, "learning_rate", default=0.1)
    learning_rate_scaling: str = again(Optimization, "learning_rate_scaling", default="linear")
    warmup_epochs: float | None = again(Optimization, "warmup_epochs", default=0.0, default_words=None)
    weight_decay: float = again(Optimization, "weight_decay", default=1e-6)
    head_layer: int = option(
        0,
        "Projection head layer whose features are classified; 0 is the encoder's output.",
        group="Model",
        at_least=0,
    )
    logistic_c: float | None = option(
        None,
        "Inverse strength of the L2 penalty of --protocol=fast.",
        group="Evaluation",
        above=0,
        default_words="cross-validated on the training labels",
    )

    @property
    def trains(self) -> bool:
        return self.protocol == "paper"

    def validate(self) -> None:
        super().validate()
        self.check_views()
        self.check_schedule()


@dataclasses.dataclass(frozen=True)
class SupervisedConfig(
    EvaluationOfClassifier,
    ClassWeights,
    Views,
    Rematerialization,
    BatchStatistics,
    Optimization,
    Backbone,
    Architecture,
    StageConfig,
):
    """The same networks from scratch, on labels alone. Defaults: the paper's baseline on ImageNet."""

    NAME = "supervised"
    MODULE = "simclr_keras.training.stages.supervised"

    epochs: int = again(Optimization, "epochs", default=90)
    label_smoothing: float = again(FinetuneConfig, "label_smoothing")

    def validate(self) -> None:
        super().validate()
        self.check_backbone(self.model, self.image_size, self.se_ratio)
        self.check_remat(self.model)
        self.check_batch_norm()
        self.check_views()
        self.check_schedule()
