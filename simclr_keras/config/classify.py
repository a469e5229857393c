"""The settings of the stages that train a classifier on labels: fine-tuning, linear evaluation, supervised training."""

import dataclasses

from simclr_keras.config import downstream_groups, groups
from simclr_keras.config.base import StageConfig
from simclr_keras.config.option import again, option
from simclr_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class FinetuneConfig(
    groups.Evaluation,
    downstream_groups.LabeledViews,
    groups.Optimization,
    downstream_groups.Start,
    StageConfig,
):
    """Fine-tuning from a layer of the projection head (SimCLRv2, section 2). Defaults: the paper's, 1 % of ImageNet."""

    NAME = "finetune"
    MODULE = "simclr_keras.training.stages.finetune"

    batch_size: int = again(
        groups.Optimization,
        "batch_size",
        default=1024,
        help="Images per step over all replicas; more than there are labels are filled by repeating them.",
    )
    epochs: int = again(groups.Optimization, "epochs", default=60)
    learning_rate: float = again(groups.Optimization, "learning_rate", default=0.005)
    warmup_epochs: float = again(groups.Optimization, "warmup_epochs", default=0.0)
    weight_decay: float = again(groups.Optimization, "weight_decay", default=0.0)
    head_layer: str | None = option(
        None,
        "Projection head layer the classifier sits on: 0 (the encoder's output) to the last, or auto: cross-validated "
        "on the labeled images. Layers above are dropped. Default: 1 (0 where the head has no middle).",
        group="Model",
    )
    classifier_init: str = option(
        "normal",
        "Where the classifier starts: normal (standard deviation 0.01) or zeros.",
        group="Model",
        choices=("normal", "zeros"),
    )
    freeze_through: int = option(
        -1,
        "Freeze what comes up to this: 0 the stem, 1-3 that block group too, 4 the whole encoder; -1: nothing.",
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

    def validate(self):
        super().validate()
        self.check_start()
        self.check_views()
        self.check_schedule()
        if self.head_layer is not None and self.head_layer != "auto" and not self.head_layer.isdecimal():
            raise InputError(f"--head_layer={self.head_layer}: give 0, 1, ... or auto.")


@dataclasses.dataclass(frozen=True)
class LinearEvalConfig(
    groups.Evaluation,
    downstream_groups.LabeledViews,
    groups.Optimization,
    downstream_groups.Start,
    StageConfig,
):
    """A linear classifier on frozen features (SimCLRv2, appendix; SimCLR, B.6). Defaults: the paper's for ImageNet."""

    NAME = "linear_eval"
    MODULE = "simclr_keras.training.stages.linear_eval"

    protocol: str = option(
        "paper",
        "paper: momentum SGD on augmented crops, encoder frozen; fast: scikit-learn's logistic regression on features "
        "computed once.",
        group="Choose",
        choices=("paper", "fast"),
    )
    epochs: int = again(groups.Optimization, "epochs", default=90)
    optimizer: str = again(groups.Optimization, "optimizer", default="momentum")
    learning_rate: float = again(groups.Optimization, "learning_rate", default=0.1)
    learning_rate_scaling: str = again(groups.Optimization, "learning_rate_scaling", default="linear")
    warmup_epochs: float = again(groups.Optimization, "warmup_epochs", default=0.0)
    weight_decay: float = again(groups.Optimization, "weight_decay", default=1e-6)
    head_layer: int = option(
        0,
        "Projection head layer whose features are judged (0: the encoder's output).",
        group="Model",
        at_least=0,
    )
    logistic_c: float | None = option(
        None,
        "Inverse strength of the L2 penalty of --protocol=fast; default: cross-validated on the training labels.",
        group="Evaluation",
        above=0,
    )

    @property
    def trains(self) -> bool:
        return self.protocol == "paper"

    def validate(self):
        super().validate()
        self.check_start()
        self.check_views()
        self.check_schedule()


@dataclasses.dataclass(frozen=True)
class SupervisedConfig(
    groups.Evaluation,
    downstream_groups.LabeledViews,
    groups.Optimization,
    downstream_groups.Student,
    groups.Architecture,
    StageConfig,
):
    """The same networks from scratch, on labels alone. Defaults: the paper's baseline on ImageNet."""

    NAME = "supervised"
    MODULE = "simclr_keras.training.stages.supervised"

    epochs: int = again(groups.Optimization, "epochs", default=90)
    warmup_epochs: float = again(groups.Optimization, "warmup_epochs", default=5.0)
    label_smoothing: float = option(
        0.0, "Share of the target spread over all classes.", group="Training", at_least=0, below=1
    )

    def validate(self):
        super().validate()
        self.check_student()
        self.check_views()
        self.check_schedule()
