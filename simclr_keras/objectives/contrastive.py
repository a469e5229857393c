"""ContrastiveLearner: NT-Xent on the projections of two views, with an online linear probe behind a stop-gradient."""

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.objectives.learner import Learner, global_mean
from simclr_keras.objectives.nt_xent import nt_xent
from simclr_keras.preprocess import to_float

FIGURES = ("contrastive_loss", "contrastive_accuracy", "contrastive_entropy")  # in the order of NTXent
PROBE_FIGURES = ("probe_loss", "probe_accuracy")


class ContrastiveLearner(Learner):
    """Contrastive pretraining (SimCLRv2, arXiv 2006.10029, section 2).

    The batch is a dict with "views" [b, 2, height, width, 3] (uint8, or float in [0, 1] without `augment`), "label"
    [b] int32 (-1 where unknown) and "id" [b] int32. If the model has a classifier it is trained as an online linear
    probe on both views; it must sit behind a stop-gradient (`create_model(..., stop_gradient=True)`).

    Args:
        model: a built SimCLRModel.
        augment: callable of (views [b, 2, h, w, 3], step) to [2b, h, w, 3] float in [0, 1], first views first; None:
            the views are taken as they are.
        temperature: temperature of NT-Xent, above 0.
        weight_decay, decayed_in_loss, skip_nonfinite: see `Learner`.

    Raises:
        InputError: the model's classifier is not behind a stop-gradient.
    """

    def __init__(
        self,
        model,
        *,
        augment=None,
        temperature=0.1,
        weight_decay=0.0,
        decayed_in_loss=None,
        skip_nonfinite=False,
        name="contrastive",
    ):
        if model.classifier is not None and not model.stop_gradient:
            raise InputError(
                "The classifier must be a probe that leaves the encoder alone: create_model(..., stop_gradient=True). "
                "Received: a model with stop_gradient=False"
            )
        super().__init__(
            model,
            figures=FIGURES if model.classifier is None else (*FIGURES, *PROBE_FIGURES),
            weight_decay=weight_decay,
            decayed_in_loss=decayed_in_loss,
            skip_nonfinite=skip_nonfinite,
            name=name,
        )
        self.augment = augment
        self.temperature = temperature

    @property
    def probe_variables(self):
        return [] if self.model.classifier is None else self.model.classifier.trainable_variables

    def objective(self, batch):
        needed = {"views"} if self.model.classifier is None else {"views", "label"}
        if not isinstance(batch, dict) or not needed <= batch.keys():
            received = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
            raise InputError(f"A batch is a dict of {' and '.join(sorted(needed))}. Received: {received}")
        images = self._images(batch["views"])
        outputs = self.model(images, training=True)
        first, second = tf.split(outputs[f"proj_head_{self.model.projection_head.depth}"], 2)
        contrastive = nt_xent(first, second, temperature=self.temperature)
        count = tf.cast(tf.shape(first)[0], first.dtype)
        figures = {name: (value * count, count) for name, value in zip(FIGURES, contrastive)}
        if self.model.classifier is None:
            return contrastive.loss, figures
        probe_loss, probe_figures = self._probe(outputs["logits"], batch["label"])
        return contrastive.loss + probe_loss, figures | probe_figures

    def _images(self, views):
        if self.augment is not None:
            return self.augment(views, self.optimizer.iterations)
        images = tf.concat(tf.unstack(views, axis=1), axis=0)
        return to_float(images) if images.dtype.is_integer else images

    def _probe(self, logits, labels):
        labels = tf.concat([labels, labels], axis=0)
        known = tf.cast(labels >= 0, logits.dtype)
        # An unknown label takes class 0 and weight 0: boolean_mask would have no static shape.
        targets = tf.maximum(labels, 0)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        hits = tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), targets), logits.dtype)
        weight = tf.reduce_sum(known)
        figures = {name: (tf.reduce_sum(x * known), weight) for name, x in zip(PROBE_FIGURES, (losses, hits))}
        return global_mean(losses, known), figures
