"""The settings of the modes that only evaluate a finished network: --mode=eval and --mode=knn."""

import dataclasses

from simclr_keras.config.base import StageConfig
from simclr_keras.config.groups.evaluation import Evaluation, Neighbors
from simclr_keras.config.groups.start import Start
from simclr_keras.config.option import again, option


@dataclasses.dataclass(frozen=True)
class EvalConfig(Start, StageConfig):
    """The accuracy of a run's classifier on an evaluation split."""

    NAME = "eval"
    MODULE = "simclr_keras.training.stages.evaluate"

    eval_batch_size: int = again(
        Evaluation, "eval_batch_size", default=256, help="Images per evaluation step.", at_least=1
    )

    @property
    def trains(self) -> bool:
        return False


@dataclasses.dataclass(frozen=True)
class KnnConfig(Neighbors, EvalConfig):
    """Weighted kNN on a run's features."""

    NAME = "knn"

    head_layer: int = option(
        0,
        "Projection head layer whose features are compared; 0 is the encoder's output.",
        group="Model",
        at_least=0,
    )
