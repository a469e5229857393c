"""The settings of --mode=pretrain: contrastive learning, its views, and the evaluation of the representation."""

import dataclasses
from typing import Any, ClassVar

from simclr_keras.config.base import StageConfig
from simclr_keras.config.groups.evaluation import Evaluation, Neighbors
from simclr_keras.config.groups.model import Architecture, Backbone, Head
from simclr_keras.config.groups.start import Start
from simclr_keras.config.groups.training import BatchStatistics, Optimization, Rematerialization
from simclr_keras.config.groups.views import Views, check_range
from simclr_keras.config.option import again, option
from simclr_keras.errors import InputError


def _or_of_init(cls: type, name: str) -> Any:
    """Return an option of another dataclass whose default applies unless --init sets the value."""
    return again(cls, name, default=None, default_words=f"{getattr(cls, name)}, or that of --init")


@dataclasses.dataclass(frozen=True)
class PretrainConfig(
    Neighbors,
    Evaluation,
    Views,
    Rematerialization,
    BatchStatistics,
    Optimization,
    Backbone,
    Start,
    StageConfig,
):
    """Contrastive pretraining (SimCLRv2, section 2 and appendix). Defaults: the paper's ImageNet recipe."""

    AUGMENTATIONS: ClassVar[tuple[str, ...]] = ("crop", "flip", "color", "blur")
    NAME = "pretrain"
    MODULE = "simclr_keras.training.stages.pretrain"
    OF_INIT: ClassVar[dict[str, type]] = {
        **dict.fromkeys(("model", "image_size", "se_ratio"), Architecture),
        **dict.fromkeys(("proj_mode", "proj_layers", "proj_dim"), Head),
    }

    init: str | None = again(
        Start,
        "init",
        help="Network to continue from: a run directory, FILE.keras, or an address such as published:r50_1x_sk0 "
        "(docs/start_from.md).",
        required=None,
        default_words="random weights",
    )
    init_head: str = option(
        "keep",
        "Projection head with --init: keep that of --init, or a fresh one.",
        group="Chain",
        choices=("keep", "fresh"),
    )
    model: str | None = _or_of_init(Architecture, "model")
    image_size: int | None = _or_of_init(Architecture, "image_size")
    se_ratio: float | None = _or_of_init(Architecture, "se_ratio")
    proj_mode: str | None = _or_of_init(Head, "proj_mode")
    proj_layers: int | None = _or_of_init(Head, "proj_layers")
    proj_dim: int | None = _or_of_init(Head, "proj_dim")
    proj_hidden_dim: int | None = again(Head, "proj_hidden_dim")
    batch_size: int = again(
        Optimization, "batch_size", help="Images per step over all replicas; each image gives two views."
    )
    microbatch_size: int = option(
        0,
        "Images per step over all replicas whose activations are in memory at a time (gradient caching): less memory, "
        "more time, the same negatives. It divides --batch_size. Batch normalization sees a micro-batch, so results "
        "depend on it and on the number of replicas. 0: all.",
        group="Training",
        unit="images",
        at_least=0,
    )
    temperature: float = option(0.1, "Temperature of NT-Xent.", group="Training", above=0)
    memory: str = option(
        "none",
        "queue: contrast against a momentum network and a queue of its past outputs (SimCLRv2, appendix D); none: "
        "against the other views of the batch.",
        group="Training",
        choices=("none", "queue"),
    )
    ema_decay: float = option(
        0.999,
        "Share of the momentum network that stays at each step (--memory=queue).",
        group="Training",
        at_least=0,
        below=1,
    )
    memory_size: int = option(
        65536,
        "Rows of the queue, a multiple of the two views of a batch; 0: the momentum network without a queue "
        "(--memory=queue).",
        group="Training",
        unit="rows",
        at_least=0,
    )
    augment: str = again(Views, "augment", default="crop,flip,color,blur")
    blur_probability: float = option(
        0.5, "Probability of a Gaussian blur.", group="Views", at_least=0, at_most=1
    )
    blur_sigma_min: float = option(
        0.1, "Smallest standard deviation of the blur.", group="Views", unit="pixels", above=0
    )
    blur_sigma_max: float = option(
        2.0, "Largest standard deviation of the blur.", group="Views", unit="pixels", above=0
    )

    probe_layer: int = option(
        0,
        "Projection head layer under the online linear probe; 0 is the encoder's output.",
        group="Evaluation",
        at_least=0,
    )
    probe_learning_rate: float = option(
        0.1,
        "Base learning rate of the online probe (times batch/256; momentum).",
        group="Evaluation",
        above=0,
    )
    baselines: bool = option(
        False,
        "Also evaluate kNN on raw pixels, and kNN and logistic regression on features of the encoder before and after "
        "training.",
        group="Evaluation",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, cls in self.OF_INIT.items():
            is_open = self.init is None or (cls is Head and self.init_head == "fresh")
            if is_open and getattr(self, name) is None:
                object.__setattr__(self, name, getattr(cls, name))

    @property
    def depends_on_replicas(self) -> bool:
        # A micro-batch is one slice of every replica's images.
        return super().depends_on_replicas or bool(self.microbatch_size)

    def validate(self) -> None:
        super().validate()
        self.check_backbone(self.model, self.image_size, self.se_ratio)
        self.check_remat(self.model)
        self.check_batch_norm()
        self.check_start()
        self.check_microbatch()
        self.check_views()
        check_range(self, "blur_sigma_min", "blur_sigma_max")
        self.check_schedule()
        self.check_memory()
        layers = {"nonlinear": self.proj_layers, "linear": 1, "none": 0}[self.proj_mode or "nonlinear"]
        if layers is not None and self.probe_layer > layers:
            raise InputError(
                f"--probe_layer={self.probe_layer} is beyond the projection head; give 0 to {layers}."
            )

    def check_start(self) -> None:
        """Raise InputError if settings of --init are given without it, or two settings set the first weights."""
        for name in ("init_head", "init_checkpoint", "use_ema"):
            value = getattr(self, name)
            if self.init is None and value != type(self).__dataclass_fields__[name].default:
                raise InputError(f"--{name}={value} needs --init: give it, or leave --{name} out.")
        if self.init and self.backbone_weights:
            raise InputError(
                f"--backbone_weights={self.backbone_weights} and --init={self.init} both set the first weights; give "
                "one of them."
            )

    def check_microbatch(self) -> None:
        """Raise InputError if the batch is no multiple of the micro-batch."""
        if self.microbatch_size and self.batch_size % self.microbatch_size:
            divisors = [m for m in range(2, self.batch_size) if self.batch_size % m == 0] or [self.batch_size]
            nearest = min(divisors, key=lambda m: abs(m - self.microbatch_size))
            raise InputError(
                f"--microbatch_size={self.microbatch_size} does not divide --batch_size={self.batch_size}; "
                f"give a divisor, such as {nearest}."
            )

    def check_memory(self) -> None:
        """Raise InputError if the queue does not take whole batches, or there is none to set."""
        if self.memory == "none":
            for name in ("ema_decay", "memory_size"):
                value, default = getattr(self, name), type(self).__dataclass_fields__[name].default
                if value != default:
                    raise InputError(
                        f"--{name}={value} needs --memory=queue; give it, or leave --{name} out."
                    )
            return
        rows = 2 * self.batch_size
        if self.memory_size % rows:
            below = self.memory_size // rows * rows
            nearest = f"{below} or {below + rows}" if below else f"{rows}, or 0 for no queue"
            raise InputError(
                f"--memory_size={self.memory_size} is {'no multiple of' if below else 'less than'} the {rows} rows of "
                f"a step, two views of --batch_size={self.batch_size}; give {nearest}."
            )
