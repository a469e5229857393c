"""Settings of the training: batch, length, optimizer and learning rate."""

import dataclasses

from simclr_keras.config.option import option
from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import is_backbone

WARMUP_SHARE = 0.05  # of the epochs (SimCLRv2, section 3)


@dataclasses.dataclass(frozen=True)
class Optimization:
    """How the weights are updated. Defaults: pretraining in the paper (SimCLRv2, section 3 and appendix)."""

    batch_size: int = option(
        4096, "Images per step over all replicas.", group="Training", unit="images", at_least=2
    )
    epochs: int = option(
        800, "Passes over the training images.", group="Training", unit="epochs", at_least=1, resume="up"
    )
    train_steps: int | None = option(
        None,
        "End the run and its schedule after this many steps.",
        group="Training",
        unit="steps",
        at_least=1,
        default_words="after the last epoch",
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
    warmup_epochs: float | None = option(
        None,
        "Linear warm-up, followed by a cosine to zero.",
        group="Training",
        unit="epochs",
        at_least=0,
        default_words="5 % of --epochs, or of --train_steps if they end the run earlier",
    )
    momentum: float = option(0.9, "Momentum of lars and momentum.", group="Training", at_least=0, below=1)
    weight_decay: float = option(1e-4, "Weight decay (decoupled under adamw).", group="Training", at_least=0)

    @property
    def warmup_length(self) -> float:
        """Epochs of warm-up.

        config.json keeps None for the default, so that a run resumed with more epochs has the schedule of a run that
        was started with them.
        """
        return WARMUP_SHARE * self.epochs if self.warmup_epochs is None else self.warmup_epochs

    def check_schedule(self) -> None:
        """Raise InputError if the warm-up is longer than the run."""
        if self.warmup_length > self.epochs:
            raise InputError(
                f"--warmup_epochs={self.warmup_epochs:g} is longer than the run of --epochs={self.epochs}: "
                f"give at most {self.epochs}, such as --warmup_epochs={WARMUP_SHARE * self.epochs:g}. "
                "A recipe may have set it."
            )


@dataclasses.dataclass(frozen=True)
class BatchStatistics:
    """Over which images batch normalization takes its statistics in training."""

    global_bn: bool = option(
        True,
        "Normalize with the statistics of the batch of all replicas; false: with those of each replica alone, which "
        "needs less communication, and makes the results depend on the number of replicas.",
        group="Training",
    )
    freeze_batch_norm: bool = option(
        False,
        "Freeze batch normalization that starts from trained weights: its statistics, scale and offset stay. For few "
        "steps at a low learning rate.",
        group="Training",
    )

    def check_batch_norm(self) -> None:
        """Raise InputError if batch normalization is to be frozen in a network that starts from random weights."""
        starts = [name for name in ("init", "backbone_weights") if name in vars(self)]
        if self.freeze_batch_norm and not any(getattr(self, name) for name in starts):
            raise InputError(
                "--freeze_batch_norm keeps the statistics of trained weights, and this network starts from random "
                f"ones: give {' or '.join(f'--{name}' for name in starts)}, or --freeze_batch_norm=false."
            )


@dataclasses.dataclass(frozen=True)
class Rematerialization:
    """Whether activations are stored for the backward pass."""

    remat: bool = option(
        False,
        "Store only the input of each residual block and compute the rest again in the backward pass: less memory, "
        "more time, the same results up to rounding.",
        group="Training",
        resume="free",
    )

    def check_remat(self, model: str | None) -> None:
        """Raise InputError if the encoder has no residual blocks of ours; None: the model is not known yet."""
        if self.remat and model is not None and is_backbone(model):
            raise InputError(
                f"--remat is not for --model={model}: leave it out, or give a network such as r50_1x_sk0."
            )


@dataclasses.dataclass(frozen=True)
class ClassWeights:
    """Weights of the classes in the loss."""

    class_weights: str = option(
        "none",
        "Weights of the classes in the loss: none, or balanced: the inverse of their numbers of labels, so that rare "
        "classes count as much as frequent ones.",
        group="Training",
        choices=("none", "balanced"),
    )
