"""The settings of --mode=distill: a teacher's probabilities taught to a student on unlabeled images."""

import dataclasses

from simclr_keras.config import downstream_groups, groups
from simclr_keras.config.base import StageConfig
from simclr_keras.config.option import again, option
from simclr_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class DistillConfig(
    groups.Evaluation,
    downstream_groups.LabeledViews,
    groups.Optimization,
    downstream_groups.Student,
    downstream_groups.Start,
    StageConfig,
):
    """Distillation (SimCLRv2, section 2, equations 2 and 3). Defaults: the paper's for ImageNet."""

    NAME = "distill"
    MODULE = "simclr_keras.training.stages.distill"
    RUN_FLAGS = ("init", "teacher")

    teacher: str | None = option(
        None,
        "The teacher: run directory of a finished run with a classifier, or an exported SavedModel with logits (folder "
        "or https:// address).",
        group="Chain",
    )
    teacher_checkpoint: str = option(
        "last",
        "Which of its weights: last, or best on its evaluation split.",
        group="Chain",
        choices=("last", "best"),
    )
    init: str | None = again(
        downstream_groups.Start,
        "init",
        default=None,
        help="Run directory whose encoder the student starts from; default: random weights.",
    )
    model: str | None = again(
        downstream_groups.Start,
        "model",
        default=None,
        help="Student: r{depth}_{width}x_sk{0,1} or keras:NAME, such as keras:VGG16; default: the teacher's encoder.",
    )
    image_size: int | None = again(
        downstream_groups.Start,
        "image_size",
        default=None,
        help="Side of the square images that both networks see; default: that of the teacher.",
    )
    se_ratio: float = again(groups.Architecture, "se_ratio", default=0.0)
    epochs: int = again(groups.Optimization, "epochs", default=400)
    warmup_epochs: float = again(groups.Optimization, "warmup_epochs", default=20.0)
    temperature: float | None = option(
        None,
        "Temperature of both networks' probabilities; default: 0.1 where the student is the teacher's encoder "
        "(self-distillation), else 1.",
        group="Training",
        above=0,
    )
    alpha: float = option(
        1.0,
        "Weight of the distillation; below 1 the labels' cross-entropy takes the rest (equation 3).",
        group="Training",
        at_least=0,
        at_most=1,
    )
    labeled_batch_size: int = option(
        0,
        "Labeled images per step with --alpha below 1; 0: as --batch_size.",
        group="Training",
        unit="images",
        at_least=0,
    )
    distill_on: str = option(
        "all",
        "Images the teacher speaks about: all training images, or the labeled ones alone.",
        group="Training",
        choices=("all", "labeled"),
    )

    @property
    def inherits_from(self):
        return self.teacher

    def validate(self):
        super().validate()
        if self.teacher is None:
            raise InputError(
                "--teacher is missing: give the run directory of a fine-tuned or supervised network, "
                "such as --teacher=runs/finetune-..."
            )
        self.check_student()
        self.check_views()
        self.check_schedule()
