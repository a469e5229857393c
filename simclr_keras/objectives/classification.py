"""Classifier: cross-entropy on labeled images, for fine-tuning, linear evaluation and supervised training."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.objectives.learner import Learner, check_batch
from simclr_keras.replicas import global_mean

FIGURES = ("loss", "accuracy")


class Classifier(Learner):
    """Train a model to classify, with the mean cross-entropy over the labeled images of the global batch.

    Frozen layers (`layer.trainable = False`, see `models.freezing`) and the layers of the projection head above the
    classifier's are not trained.

    Letters: b = examples, h and w = height and width in pixels. The batch is a dict with "views" [b, 1, h, w, 3]
    (uint8, or float in [0, 1] without `augment`) and integers "label" [b]. An image with label -1 has no weight.
    Metrics: loss in nats, accuracy in [0, 1].

    Source: SimCLRv2, arXiv 2006.10029, section 2 (fine-tuning).

    >>> import numpy as np
    >>> from simclr_keras import Classifier, create_model
    >>> learner = Classifier(create_model("r18_0.125x_sk0", num_classes=10, image_size=8))
    >>> learner.compile("sgd")
    >>> images = np.zeros([4, 1, 8, 8, 3], "float32")
    >>> sorted(learner.train_step({"views": images, "label": np.array([0, 1, 2, -1], "int32")}))
    ['accuracy', 'loss']

    Args:
        model: a built SimCLRModel with a classifier that is not behind a stop-gradient.
        label_smoothing: in [0, 1), see `softmax_cross_entropy`.
        class_weights: [classes], factors of the losses of the images of each class, as of `balanced_weights`; or None.
        **learner_arguments: augment, weight_decay, decayed_in_loss, on_nan of `Learner`.

    Raises:
        InputError: the model has no classifier, or one behind a stop-gradient; label_smoothing is out of range; or
            class_weights do not fit the classes.
    """

    def __init__(
        self,
        model: SimCLRModel,
        *,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        name: str = "classifier",
        **learner_arguments,
    ):
        check_model(model)
        if not 0 <= label_smoothing < 1:
            raise InputError(
                f"label_smoothing must be at least 0 and below 1. Received: label_smoothing={label_smoothing}"
            )
        classes = model.classifier.num_classes
        if class_weights is not None and len(class_weights) != classes:
            raise InputError(
                f"class_weights must be one per class, {classes}. Received: {len(class_weights)} weights"
            )
        super().__init__(model, figures=FIGURES, name=name, **learner_arguments)
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else tuple(map(float, class_weights))

    @property
    def unused_variables(self) -> list:
        return above_classifier(self.model)

    def objective(self, batch: dict, training: bool = True) -> tuple[tf.Tensor, dict]:
        check_batch(batch, ["views", "label"])
        images = self.images(batch["views"], 1, training=training)
        logits = self.model(images, training=training)["logits"]
        return labeled_loss(logits, batch["label"], FIGURES, self.label_smoothing, self.class_weights)


def balanced_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return weights of the classes that are inverse to their numbers of labels, with mean 1 over the labels.

    They are those of scikit-learn's `class_weight="balanced"`.

    >>> import numpy as np
    >>> from simclr_keras.objectives.classification import balanced_weights
    >>> balanced_weights(np.array([0, 0, 0, 1, -1]), 2).round(2).tolist()
    [0.67, 2.0]

    Args:
        labels: integers [n] in [0, num_classes), or -1 for a row that is not counted.
        num_classes: number of classes.

    Returns:
        float64 [num_classes]; 0 for a class without labels.
    """
    counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    present = counts > 0
    return np.where(present, counts.sum() / np.maximum(counts * present.sum(), 1), 0.0)


def softmax_cross_entropy(logits: tf.Tensor, labels: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """Return the cross-entropy between labels and the softmax of logits, for each row.

    With label smoothing s over c classes the target is 1 - s + s / c for the label and s / c for every other class
    (Szegedy et al. 2015, arXiv 1512.00567, section 7).

    Args:
        logits: [b, c] float.
        labels: [b] int, in [0, c).
        smoothing: in [0, 1).

    Returns:
        [b] of the logits' dtype.
    """
    if not smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    classes = logits.shape[-1]
    elsewhere = smoothing / classes
    targets = tf.one_hot(labels, classes, 1 - smoothing + elsewhere, elsewhere, dtype=logits.dtype)
    return tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits)


def labeled_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    names: Sequence[str],
    smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> tuple[tf.Tensor, dict]:
    """Return the mean cross-entropy over the labeled rows of the global batch, and its figures.

    Args:
        logits: [b, c] float.
        labels: integers [b] or [b, 1], -1 if there is none.
        names: of the figures, in this order: loss, accuracy; fewer leave the rest out.
        smoothing: see `softmax_cross_entropy`.
        class_weights: [c], factors of the rows' losses by their labels, or None. The mean divides by the number of
            labeled rows, not by their weights, so that its expectation does not depend on the batch.

    Returns:
        (loss, figures): as in `Learner.objective`; the loss is a `global_mean`, 0 if nothing is labeled.

    Raises:
        InputError: labels of another type or shape.
    """
    labels = _checked(labels)
    labeled = tf.cast(labels >= 0, logits.dtype)
    # An unknown label takes class 0 and weight 0: boolean_mask would have no static shape.
    targets = tf.maximum(labels, 0)
    losses = softmax_cross_entropy(logits, targets, smoothing)
    if class_weights is not None:
        losses *= tf.gather(tf.constant(class_weights, losses.dtype), targets)
    hits = tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), targets), logits.dtype)
    weight = tf.reduce_sum(labeled)
    figures = {name: (tf.reduce_sum(x * labeled), weight) for name, x in zip(names, (losses, hits))}
    return global_mean(losses, labeled), figures


def _checked(labels):
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2 and labels.shape[1] == 1:  # as in keras.datasets
        labels = tf.squeeze(labels, 1)
    if not labels.dtype.is_integer or labels.shape.rank not in (1, None):
        raise InputError(
            "Labels must be integers [batch], -1 if unknown: tf.argmax(labels, axis=-1) turns one-hot rows into them. "
            f"Received: {labels.dtype.name}{list(labels.shape)}"
        )
    return tf.cast(labels, tf.int32)


def check_model(model: SimCLRModel) -> None:
    """Raise InputError unless the model has a classifier whose loss reaches the encoder."""
    if model.classifier is None:
        raise InputError(
            "The model needs a classifier: create_model(..., num_classes=10). Received: a model without one"
        )
    if model.stop_gradient:
        raise InputError(
            "The classifier's loss must reach the encoder: create_model(..., stop_gradient=False). "
            "Received: a model with stop_gradient=True"
        )


def above_classifier(model: SimCLRModel) -> list:
    """Return the trainable variables of the projection head on which the logits do not depend."""
    head = model.projection_head
    above = range(model.head_layer + 1, head.depth + 1)
    layers = [getattr(head, name) for j in above for name in (f"dense{j}", f"bn{j}")]
    return [variable for layer in layers for variable in layer.trainable_variables]
