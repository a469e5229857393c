"""The settings of --mode=distill: a student learns the probabilities of a teacher on unlabeled images."""

import dataclasses

from simclr_keras.config.base import StageConfig
from simclr_keras.config.groups.evaluation import EvaluationOfClassifier
from simclr_keras.config.groups.model import Architecture, Backbone
from simclr_keras.config.groups.start import Start
from simclr_keras.config.groups.training import BatchStatistics, Optimization, Rematerialization
from simclr_keras.config.groups.views import Views
from simclr_keras.config.option import again, option
from simclr_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class DistillConfig(
    EvaluationOfClassifier,
    Views,
    Rematerialization,
    BatchStatistics,
    Optimization,
    Backbone,
    Start,
    StageConfig,
):
    """Distillation (SimCLRv2, section 2, equations 2 and 3). Defaults: the paper's for ImageNet."""

    NAME = "distill"
    MODULE = "simclr_keras.training.stages.distill"
    RUN_FLAGS = ("init", "teacher")

    teacher: str | None = option(
        None,
        "Teacher: run directory of a finished run with a classifier, an address such as "
        "published:finetuned_1pct/r50_1x_sk0, or an exported SavedModel with logits (folder or https:// address).",
        group="Chain",
        required="give the run directory of a fine-tuned or supervised network, such as --teacher=runs/finetune-...",
    )
    teacher_checkpoint: str = option(
        "last",
        "Checkpoint of --teacher: the last one, or the best one on its evaluation split.",
        group="Chain",
        choices=("last", "best"),
    )
    init: str | None = again(
        Start,
        "init",
        help="Run directory, or an address such as published:r50_1x_sk0, whose encoder is the student's initial one.",
        required=None,
        default_words="random weights",
    )
    model: str | None = again(
        Start,
        "model",
        help="Student: r{depth}_{width}x_sk{0,1}, keras:NAME, such as keras:VGG16, or hub:PRESET.",
        default_words="the teacher's encoder",
    )
    image_size: int | None = again(
        Start,
        "image_size",
        help="Side of the square images that both networks see.",
        default_words="that of the teacher",
    )
    se_ratio: float = again(Architecture, "se_ratio")
    epochs: int = again(Optimization, "epochs", default=400)
    temperature: float | None = option(
        None,
        "Temperature of both networks' probabilities.",
        group="Training",
        above=0,
        default_words="0.1 if the student is the teacher's encoder (self-distillation), else 1",
    )
    alpha: float = option(
        1.0,
        "Weight of the distillation; the rest is the weight of the labels' cross-entropy (equation 3).",
        group="Training",
        at_least=0,
        at_most=1,
    )
    labeled_batch_size: int = option(
        0,
        "Labeled images per step if --alpha is below 1; 0: as --batch_size.",
        group="Training",
        unit="images",
        at_least=0,
    )
    distill_on: str = option(
        "all",
        "Images of the distillation: all training images, or the labeled ones alone.",
        group="Training",
        choices=("all", "labeled"),
    )

    def validate(self) -> None:
        super().validate()
        if self.use_ema and self.init is None:
            raise InputError(
                "--use_ema needs --init: it selects the student's first weights. To use the momentum network in the "
                "teacher, fine-tune the teacher with --use_ema."
            )
        self.check_backbone(self.model, self.image_size, self.se_ratio)
        self.check_remat(self.model)
        self.check_batch_norm()
        self.check_views()
        self.check_schedule()
