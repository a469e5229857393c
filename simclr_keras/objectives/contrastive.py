"""ContrastiveLearner: NT-Xent on the projections of two views, with an online linear probe behind a stop-gradient."""

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.objectives.classification import labeled_loss
from simclr_keras.objectives.learner import Learner, check_batch
from simclr_keras.objectives.nt_xent import nt_xent

FIGURES = ("contrastive_loss", "contrastive_accuracy", "contrastive_entropy")  # in the order of NTXent
PROBE_FIGURES = ("probe_loss", "probe_accuracy")


class ContrastiveLearner(Learner):
    """Contrastive pretraining (SimCLRv2, arXiv 2006.10029, section 2).

    The batch is a dict with "views" [b, 2, height, width, 3] (uint8, or float in [0, 1] without `augment`), "label"
    [b] int32 (-1 where unknown) and "id" [b] int32. If the model has a classifier it is trained as an online linear
    probe on both views; it must sit behind a stop-gradient (`create_model(..., stop_gradient=True)`).

    Args:
        model: a built SimCLRModel.
        temperature: temperature of NT-Xent, above 0.
        augment, weight_decay, decayed_in_loss, skip_nonfinite: see `Learner`.

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
            augment=augment,
            figures=FIGURES if model.classifier is None else (*FIGURES, *PROBE_FIGURES),
            weight_decay=weight_decay,
            decayed_in_loss=decayed_in_loss,
            skip_nonfinite=skip_nonfinite,
            name=name,
        )
        self.temperature = temperature

    @property
    def probe_variables(self):
        return [] if self.model.classifier is None else self.model.classifier.trainable_variables

    def objective(self, batch):
        check_batch(batch, ["views"] if self.model.classifier is None else ["views", "label"])
        images = self._images(batch["views"], 2)
        outputs = self.model(images, training=True)
        first, second = tf.split(outputs[f"proj_head_{self.model.projection_head.depth}"], 2)
        contrastive = nt_xent(first, second, temperature=self.temperature)
        count = tf.cast(tf.shape(first)[0], first.dtype)
        figures = {name: (value * count, count) for name, value in zip(FIGURES, contrastive)}
        if self.model.classifier is None:
            return contrastive.loss, figures
        labels = tf.concat([batch["label"], batch["label"]], axis=0)
        probe_loss, probe_figures = labeled_loss(outputs["logits"], labels, PROBE_FIGURES)
        return contrastive.loss + probe_loss, figures | probe_figures
