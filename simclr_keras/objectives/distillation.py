"""Distiller: a student learns the class probabilities that a fixed teacher gives unlabeled images."""

from collections.abc import Callable

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.objectives.classification import above_classifier, check_model, labeled_loss
from simclr_keras.objectives.learner import Learner, check_batch
from simclr_keras.optim.apply_gradients import call_count
from simclr_keras.replicas import mean_rows, number_of_rows

FIGURES = ("loss", "distillation_loss", "label_loss", "agreement")


class Distiller(Learner):
    """Train a student on the class probabilities of a fixed teacher, and optionally on labels.

    The loss is (1 - alpha) * cross-entropy with the labels of the labeled stream + alpha * `distillation_loss` on the
    unlabeled stream, each averaged over its own batch. A stream of weight 0 may be missing. The student sees both in
    one forward pass; the teacher, in inference mode, sees the same crops of the unlabeled ones.

    Letters: b = unlabeled examples, m = labeled examples, h and w = height and width in pixels. The batch is a dict.
    If alpha is above 0, it has "views" [b, 1, h, w, 3] (uint8, or float in [0, 1] without `augment`). If alpha is below
    1, it has "labeled_views" [m, 1, h, w, 3] and "labeled_label" [m] (-1: no label, no weight). Metrics: loss,
    distillation_loss and label_loss in nats; agreement, the share in [0, 1] of the unlabeled stream with the same class
    from student and teacher. Those of a stream of weight 0 are left out.

    Source: SimCLRv2, arXiv 2006.10029, section 2, equations 2 and 3.

    >>> import numpy as np
    >>> from simclr_keras import Distiller, create_model
    >>> teacher = create_model("r18_0.125x_sk0", num_classes=10, image_size=8)
    >>> student = create_model("r18_0.125x_sk0", num_classes=10, image_size=8)
    >>> learner = Distiller(student, teacher, temperature=0.1)
    >>> learner.compile("sgd")
    >>> sorted(learner.train_step({"views": np.zeros([4, 1, 8, 8, 3], "float32")}))
    ['agreement', 'distillation_loss', 'loss']

    Args:
        model: the student, a built SimCLRModel with a classifier that is not behind a stop-gradient.
        teacher: callable of (images [b, h, w, 3] float in [0, 1], training=False) to a dict with "logits"; a Keras
            model, for instance, of any precision. It is not part of the learner: neither trained nor decayed nor
            saved. With several replicas it must have been made in the strategy's scope. None if alpha is 0.
        temperature: of student and teacher, above 0; the paper's is 0.1 between equals, 1 from big to small.
        alpha: in [0, 1], the weight of the teacher.
        **learner_arguments: augment (of both streams), weight_decay, decayed_in_loss, on_nan of `Learner`.

    Raises:
        InputError: the model has no classifier, or one behind a stop-gradient; the teacher is missing, is the student
            or has other classes; temperature or alpha is out of range.
    """

    def __init__(
        self,
        model: SimCLRModel,
        teacher: Callable | None,
        *,
        temperature: float = 1.0,
        alpha: float = 1.0,
        name: str = "distiller",
        **learner_arguments,
    ):
        check_model(model)
        if not temperature > 0:
            raise InputError(f"temperature must be above 0. Received: temperature={temperature}")
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha must be in [0, 1]. Received: alpha={alpha}")
        if alpha:
            _check_teacher(teacher, model)
        absent = () if 0 < alpha < 1 else ("label_loss",) if alpha else ("distillation_loss", "agreement")
        figures = [figure for figure in FIGURES if figure not in absent]
        super().__init__(model, figures=figures, name=name, **learner_arguments)
        # A function, because Keras and tf.train.Checkpoint take an attribute that is a model for a part of this one.
        self._ask_teacher = lambda images: teacher(images, training=False)
        self.temperature = temperature
        self.alpha = alpha

    @property
    def unused_variables(self) -> list:
        return above_classifier(self.model)

    def objective(self, batch: dict, training: bool = True) -> tuple[tf.Tensor, dict]:
        taught, labeled = self.alpha > 0, self.alpha < 1
        check_batch(batch, taught * ["views"] + labeled * ["labeled_views", "labeled_label"])
        streams = self._streams(batch, training=training)
        logits = self.model(tf.concat(streams, axis=0), training=training)["logits"]
        rows = [number_of_rows(images) for images in streams]
        count = tf.cast(mean_rows(rows[0]), logits.dtype)
        loss, figures = tf.zeros([], logits.dtype), {}
        if taught:
            value, figures = self._teaching(logits[: rows[0]], streams[0], count)
            loss += self.alpha * value
        if labeled:
            value, more = labeled_loss(logits[sum(rows[:-1]) :], batch["labeled_label"], ["label_loss"])
            loss += (1 - self.alpha) * value
            figures |= more
        return loss, figures | {"loss": (loss * count, count)}

    def training_images(self, batch: dict, step: int | tf.Tensor) -> tf.Tensor:
        return tf.concat(self._streams(batch, step), axis=0)

    def _streams(self, batch, step=None, training=True):
        """Return the images of the unlabeled and of the labeled stream, without those of weight 0."""
        streams = []
        if self.alpha > 0:
            streams.append(self.images(batch["views"], 1, step, training))
        if self.alpha < 1:
            # At a step of its own, or row i of both streams would get the same colors.
            step = call_count(self.optimizer) if step is None else step
            streams.append(self.images(batch["labeled_views"], 1, -1 - step, training))
        return streams

    def _teaching(self, logits, images, count):
        outputs = self._ask_teacher(images)
        if not isinstance(outputs, dict) or "logits" not in outputs:
            received = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
            raise InputError(f"The teacher must return a dict with logits. Received: {received}")
        taught = outputs["logits"]
        _check_classes(taught.shape[-1], logits.shape[-1])
        losses = distillation_loss(logits, taught, self.temperature)
        of_student, of_teacher = (tf.argmax(x, axis=-1, output_type=tf.int32) for x in (logits, taught))
        hits = tf.cast(tf.equal(of_student, of_teacher), losses.dtype)
        count = tf.cast(count, losses.dtype)
        total = tf.reduce_sum(losses)
        return total / count, {"distillation_loss": (total, count), "agreement": (tf.reduce_sum(hits), count)}


def distillation_loss(
    student_logits: tf.Tensor, teacher_logits: tf.Tensor, temperature: float = 1.0
) -> tf.Tensor:
    """Return -sum_y P_T(y) log P_S(y) of each row, with P(y) = softmax(logits / temperature).

    Reference: SimCLRv2, arXiv 2006.10029, equation 2. There is no factor temperature^2, which the released notebooks
    have. No gradient flows into the teacher.

    Args:
        student_logits, teacher_logits: [b, c] float. float64 of the student stays; every other type becomes float32.
        temperature: above 0.

    Returns:
        [b].
    """
    student_logits = tf.convert_to_tensor(student_logits)
    dtype = tf.float64 if student_logits.dtype == tf.float64 else tf.float32
    student, teacher = tf.cast(student_logits, dtype), tf.cast(teacher_logits, dtype)
    targets = tf.stop_gradient(tf.nn.softmax(teacher / temperature))
    return tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=student / temperature)


def _check_teacher(teacher, student):
    if not callable(teacher):
        raise InputError(
            f"With alpha above 0 there must be a teacher, a callable. Received: teacher={teacher}"
        )
    if teacher is student:
        raise InputError("The teacher must be a network of its own. Received: the student")
    if isinstance(teacher, SimCLRModel):
        if teacher.classifier is None:
            raise InputError("The teacher needs a classifier. Received: a model without one")
        _check_classes(teacher.classifier.num_classes, student.classifier.num_classes)


def _check_classes(teacher, student):
    if teacher not in (None, student):  # None: unknown while tracing
        raise InputError(
            f"Teacher and student must have the same classes. Received: {teacher} classes of the teacher, "
            f"{student} of the student"
        )
