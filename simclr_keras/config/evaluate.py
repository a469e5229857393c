"""The settings of the modes that only measure a finished network: --mode=eval and --mode=knn."""

import dataclasses

from simclr_keras.config import downstream_groups, groups
from simclr_keras.config.base import StageConfig
from simclr_keras.config.option import option


@dataclasses.dataclass(frozen=True)
class EvalConfig(downstream_groups.Start, StageConfig):
    """The accuracy of a run's classifier on an evaluation split."""

    NAME = "eval"
    MODULE = "simclr_keras.training.stages.evaluate"

    eval_batch_size: int = option(
        256, "Images per evaluation step.", group="Evaluation", unit="images", at_least=1, resume="free"
    )

    @property
    def trains(self) -> bool:
        return False

    def validate(self):
        super().validate()
        self.check_start()


@dataclasses.dataclass(frozen=True)
class KnnConfig(groups.Neighbors, downstream_groups.Start, StageConfig):
    """Weighted kNN on a run's features."""

    NAME = "knn"
    MODULE = "simclr_keras.training.stages.evaluate"

    eval_batch_size: int = option(
        256, "Images per evaluation step.", group="Evaluation", unit="images", at_least=1, resume="free"
    )
    head_layer: int = option(
        0,
        "Projection head layer whose features are compared (0: the encoder's output).",
        group="Model",
        at_least=0,
    )

    @property
    def trains(self) -> bool:
        return False

    def validate(self):
        super().validate()
        self.check_start()
