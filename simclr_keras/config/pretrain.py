"""The settings of --mode=pretrain: contrastive learning, its views, and how the representation is watched."""

import dataclasses

from simclr_keras.config import groups
from simclr_keras.config.base import StageConfig
from simclr_keras.config.option import again, option
from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.models.zoo import parse_name


@dataclasses.dataclass(frozen=True)
class PretrainConfig(
    groups.Neighbors,
    groups.Evaluation,
    groups.Views,
    groups.Optimization,
    groups.Head,
    groups.Architecture,
    StageConfig,
):
    """Contrastive pretraining (SimCLRv2, section 2 and appendix). Defaults: the paper's ImageNet recipe."""

    NAME = "pretrain"
    MODULE = "simclr_keras.training.stages.pretrain"

    batch_size: int = again(
        groups.Optimization,
        "batch_size",
        default=4096,
        help="Images per step over all replicas (each gives two views).",
    )
    temperature: float = option(0.1, "Temperature of NT-Xent.", group="Training", above=0)
    random_crop: bool = option(
        True, "Crop at random; otherwise every view is the evaluation window.", group="Views"
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
    baselines: bool = option(
        False,
        "Before training, also report kNN on raw pixels and on the untrained encoder, with logistic regression on the "
        "latter, and at the end both on the trained one.",
        group="Evaluation",
    )

    def validate(self):
        super().validate()
        if is_backbone(self.model):
            raise InputError(
                f"--model={self.model} is for --mode=supervised and --mode=distill; --mode=pretrain trains networks "
                "such as r50_1x_sk0."
            )
        parse_name(self.model)
        self.check_views()
        groups.check_range(self, "blur_sigma_min", "blur_sigma_max")
        self.check_schedule()
        layers = {"nonlinear": self.proj_layers, "linear": 1, "none": 0}[self.proj_mode]
        if self.probe_layer > layers:
            raise InputError(
                f"--probe_layer={self.probe_layer} is beyond the projection head, which has layers 0 to {layers}."
            )
