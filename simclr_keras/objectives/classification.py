"""Classifier: cross-entropy on labeled images, for fine-tuning, linear evaluation and training from scratch."""

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.objectives.learner import Learner, check_batch, global_mean

FIGURES = ("loss", "accuracy")


class Classifier(Learner):
    """Trains a model to classify (SimCLRv2, arXiv 2006.10029, section 2: fine-tuning).

    All of the model is trained, or what is not frozen of it (`layer.trainable = False`, see `models.freezing`). Layers
    of the projection head above the classifier's take no part.

    The batch is a dict with "views" [b, 1, height, width, 3] (uint8, or float in [0, 1] without `augment`) and "label"
    [b] int32; -1 where there is no label, and then the image has no weight.

    Args:
        model: a built SimCLRModel with a classifier that is not behind a stop-gradient.
        label_smoothing: in [0, 1), see `softmax_cross_entropy`.
        augment, weight_decay, decayed_in_loss, skip_nonfinite: see `Learner`.

    Raises:
        InputError: a model that cannot be trained to classify, or label_smoothing out of range.
    """

    def __init__(
        self,
        model,
        *,
        augment=None,
        label_smoothing=0.0,
        weight_decay=0.0,
        decayed_in_loss=None,
        skip_nonfinite=False,
        name="classifier",
    ):
        check_model(model)
        if not 0 <= label_smoothing < 1:
            raise InputError(
                f"label_smoothing must be at least 0 and below 1. Received: label_smoothing={label_smoothing}"
            )
        super().__init__(
            model,
            augment=augment,
            figures=FIGURES,
            weight_decay=weight_decay,
            decayed_in_loss=decayed_in_loss,
            skip_nonfinite=skip_nonfinite,
            name=name,
        )
        self.label_smoothing = label_smoothing

    @property
    def unused_variables(self):
        return above_classifier(self.model)

    def objective(self, batch):
        check_batch(batch, ["views", "label"])
        logits = self.model(self._images(batch["views"], 1), training=True)["logits"]
        return labeled_loss(logits, batch["label"], FIGURES, self.label_smoothing)


def softmax_cross_entropy(logits, labels, smoothing=0.0):
    """Cross-entropy between labels and the softmax of logits, of each row.

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


def labeled_loss(logits, labels, names, smoothing=0.0):
    """Mean cross-entropy over the labeled rows of the global batch, and figures as `Learner.objective` reports them.

    Args:
        logits: [b, c] float.
        labels: [b] int32, -1 where there is none.
        names: of the figures, in this order: loss, accuracy; fewer leave the rest out.
        smoothing: see `softmax_cross_entropy`.

    Returns:
        (loss, figures): see `global_mean` for the loss, which is 0 where nothing is labeled.
    """
    known = tf.cast(labels >= 0, logits.dtype)
    # An unknown label takes class 0 and weight 0: boolean_mask would have no static shape.
    targets = tf.maximum(labels, 0)
    losses = softmax_cross_entropy(logits, targets, smoothing)
    hits = tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), targets), logits.dtype)
    weight = tf.reduce_sum(known)
    figures = {name: (tf.reduce_sum(x * known), weight) for name, x in zip(names, (losses, hits))}
    return global_mean(losses, known), figures


def check_model(model):
    """Raises InputError unless the model's classifier exists and its loss reaches what is below."""
    if model.classifier is None:
        raise InputError(
            "The model needs a classifier: create_model(..., num_classes=10). Received: a model without one"
        )
    if model.stop_gradient:
        raise InputError(
            "The classifier's loss must reach the encoder: create_model(..., stop_gradient=False). "
            "Received: a model with stop_gradient=True"
        )


def above_classifier(model):
    """Trainable variables of the layers of the projection head on which the logits do not depend."""
    head = model.projection_head
    above = range(model.head_layer + 1, head.depth + 1)
    layers = [getattr(head, name) for j in above for name in (f"dense{j}", f"bn{j}")]
    return [variable for layer in layers for variable in layer.trainable_variables]
