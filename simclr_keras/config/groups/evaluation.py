"""Settings of the evaluation: its schedule, its batch and the weighted kNN."""

import dataclasses

from simclr_keras.config.option import option


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Evaluation during training."""

    eval_every_epochs: int = option(
        0,
        "Evaluate after every so many epochs, and after the last; 0: ten times per run.",
        group="Evaluation",
        unit="epochs",
        at_least=0,
        resume="free",
    )
    eval_batch_size: int = option(
        0,
        "Images per evaluation step; 0: the training batch, at most 256.",
        group="Evaluation",
        unit="images",
        at_least=0,
        resume="free",
    )


@dataclasses.dataclass(frozen=True)
class EvaluationOfClassifier(Evaluation):
    """Evaluation of a classifier during training."""

    best_metric: str = option(
        "top1",
        "Figure whose highest value decides which weights are kept in best/: top1, or balanced_accuracy, the mean "
        "recall of the classes.",
        group="Evaluation",
        choices=("top1", "balanced_accuracy"),
    )


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """The weighted kNN classifier."""

    knn_k: int = option(
        200, "Neighbors of the weighted kNN; at most the bank size.", group="Evaluation", at_least=1
    )
    knn_temperature: float = option(0.1, "Temperature of the kNN weights.", group="Evaluation", above=0)
    knn_bank_size: int = option(
        100_000,
        "Most labeled training images in the kNN bank. If there are more, a seeded sample is taken.",
        group="Evaluation",
        unit="images",
        at_least=1,
    )
