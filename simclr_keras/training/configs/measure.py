"""The settings of the modes that only measure a finished network: --mode=eval and --mode=knn."""

import dataclasses

from simclr_keras.training.configs import later_parts, parts
from simclr_keras.training.configs.stage import StageConfig
from simclr_keras.training.options import option


@dataclasses.dataclass(frozen=True)
class EvalConfig(later_parts.Start, StageConfig):
    """The accuracy of a run's classifier on an evaluation split."""

    NAME = "eval"
    MODULE = "simclr_keras.training.measure"

    eval_batch_size: int = option(
        256, "Images per evaluation step.", group="Evaluation", unit="images", at_least=1, resume="free"
    )

    def validate(self):
        super().validate()
        self.check_start()


@dataclasses.dataclass(frozen=True)
class KnnConfig(parts.Neighbours, later_parts.Start, StageConfig):
    """Weighted kNN on a run's features."""

    NAME = "knn"
    MODULE = "simclr_keras.training.measure"

    eval_batch_size: int = option(
        256, "Images per evaluation step.", group="Evaluation", unit="images", at_least=1, resume="free"
    )
    head_layer: int = option(
        0,
        "Projection head layer whose features are compared (0: the encoder's output).",
        group="Model",
        at_least=0,
    )

    def validate(self):
        super().validate()
        self.check_start()
