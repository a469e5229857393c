"""Distiller on one device: the loss and its twin, both streams, what the teacher is and is not, bad input, fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.errors import InputError
from simclr_keras.models.freezing import ENCODER
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.objectives.distillation import FIGURES, Distiller, distillation_loss
from tests.objectives import cross_entropy_twin as twin
from tests.objectives.tiny_classifier import (
    ALL_LABELED,
    SOME_LABELED,
    make_batches,
    make_classifier,
    make_distiller,
    make_model,
    make_teacher,
    only,
)
from tests.objectives.tiny_learner import TinyEncoder, as_dataset, assert_close, assert_equal, train, values

TAUGHT, LABELED = ("views", "id"), ("labeled_views", "labeled_label")


def tensors(batch):
    return {name: tf.constant(array) for name, array in batch.items()}


def loss_and_gradient(student, teacher, temperature):
    given = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(given)
        losses = distillation_loss(given, tf.constant(teacher), temperature)
    return losses.numpy(), tape.gradient(losses, given).numpy()


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-12)])
def test_loss_and_gradient_are_those_of_the_twin(temperature, scale, dtype, tolerance):
    random = np.random.default_rng(0)
    student, teacher = (scale * random.normal(size=(2, 16, 5))).astype(dtype)
    losses, gradient = loss_and_gradient(student, teacher, temperature)
    expected, by_student = twin.distilled(student, teacher, temperature)
    # In float32 logits of 30 / 0.1 are known to 3e-5, and so is the log of their probabilities.
    rounding = 4 * np.finfo(dtype).eps * scale / temperature
    assert losses.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(losses, expected, tolerance, tolerance + rounding)
    np.testing.assert_allclose(gradient, by_student, tolerance, (tolerance + rounding) / temperature)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_1e4_give_no_nan(temperature, dtype):
    student = 1e4 * np.array([[1, -1, 0], [1, 1, 1], [-1, -1, 1], [0, 0, 1]], dtype)
    teacher = 1e4 * np.array([[-1, 1, 0], [1, 1, -1], [-1, -1, 1], [1, 0, 0]], dtype)
    losses, gradient = loss_and_gradient(student, teacher, temperature)
    expected, by_student = twin.distilled(student, teacher, temperature)
    np.testing.assert_allclose(losses, expected, 1e-6, 1e-6)
    np.testing.assert_allclose(gradient, by_student, 1e-6, 1e-6)


def test_no_gradient_flows_into_the_teacher():
    student, teacher = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 3)))
    with tf.GradientTape() as tape:
        tape.watch(teacher)
        loss = distillation_loss(student, teacher, 0.5)
    assert tape.gradient(loss, teacher) is None


def test_low_precision_is_computed_in_float32():
    student, teacher = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    half = tf.cast(teacher, tf.bfloat16)
    losses = distillation_loss(tf.constant(student), half, 0.5)
    assert losses.dtype == tf.float32
    np.testing.assert_allclose(losses, twin.distilled(student, half.numpy().astype(float), 0.5)[0], 1e-6)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_both_streams_count_as_equation_3_says(alpha, temperature):
    model, teacher = make_model(dtype="float64"), make_teacher(dtype="float64")
    model.classifier.kernel.assign(model.classifier.kernel * 100)
    learner = make_distiller(model, teacher, alpha=alpha, temperature=temperature)
    batch = make_batches(1)[0]
    with tf.GradientTape() as tape:
        loss, figures = learner.objective(tensors(batch))
    by_kernel, by_bias = tape.gradient(loss, model.classifier.trainable_variables)

    # What the student sees at once: the streams it is taught with, in one batch for its normalization.
    streams = [batch["views"]] * (alpha > 0) + [batch["labeled_views"]] * (alpha < 1)
    outputs = model(np.concatenate(streams)[:, 0] / 255, training=True)
    logits, features = outputs["logits"].numpy(), outputs["final_avg_pool"].numpy()
    taught = teacher(batch["views"][:, 0] / 255, training=False)["logits"].numpy()
    expected, *gradients = twin.combined(
        alpha, temperature, logits[:8], taught, logits[-8:], batch["labeled_label"]
    )
    by_logits = np.concatenate(gradients[:1] * (alpha > 0) + gradients[1:] * (alpha < 1))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)  # pixels are brought to [0, 1] in float32
    np.testing.assert_allclose(by_kernel, features.T @ by_logits, 1e-5, 1e-7)
    np.testing.assert_allclose(by_bias, by_logits.sum(axis=0), 1e-5, 1e-7)

    means = {name: float(total / weight) for name, (total, weight) in figures.items()}
    known = SOME_LABELED >= 0
    wanted = {"loss": expected}
    if alpha > 0:
        wanted["distillation_loss"] = twin.distilled(logits[:8], taught, temperature)[0].mean()
        wanted["agreement"] = np.mean(logits[:8].argmax(axis=1) == taught.argmax(axis=1))
    if alpha < 1:
        wanted["label_loss"] = twin.labeled(logits[-8:][known], SOME_LABELED[known])[0].mean()
    assert means == pytest.approx(wanted, rel=1e-6)
    assert tuple(learner.averages) == tuple(name for name in FIGURES if name in wanted)


def test_streams_may_differ_in_size():
    learner = make_distiller(alpha=0.5)
    batch = tensors(make_batches(1)[0])
    batch |= {name: batch[name][:3] for name in LABELED}
    _, figures = learner.objective(batch)
    assert [int(figures[name][1]) for name in FIGURES] == [8, 8, 1, 8]


def test_with_alpha_0_it_is_a_classifier_that_asks_no_teacher():
    def never(images, training):
        raise AssertionError("asked")

    batches = make_batches(3)
    plain = make_classifier()
    train(plain, [{"views": b["labeled_views"], "label": b["labeled_label"]} for b in batches])
    assert Distiller(make_model(), None, alpha=0.0).alpha == 0
    learner = Distiller(
        make_model(), never, alpha=0.0, weight_decay=1e-2, decayed_in_loss=plain.decayed_in_loss
    )
    learner.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    train(learner, only(batches, *LABELED))
    ours, theirs = values(learner), values(plain)
    kept = [name for name in theirs if not name.startswith("metrics/")]
    assert_equal({name: ours[name] for name in kept}, {name: theirs[name] for name in kept})


def test_with_alpha_1_labels_change_nothing():
    batches = make_batches(3)
    without, with_labels = make_distiller(), make_distiller()
    train(without, only(batches, "views"))
    train(with_labels, batches)
    assert_equal(values(with_labels), values(without))


class Recorder:
    """A teacher that notes what it sees."""

    def __init__(self, model):
        self.model, self.seen, self.training = model, [], []

    def __call__(self, images, training=None):
        self.seen.append(images)
        self.training.append(training)
        return self.model(images, training=training)


def test_teacher_sees_the_crops_of_the_student_in_inference_mode():
    model, teacher = make_model(), Recorder(make_teacher())
    student_sees = []
    learner = make_distiller(
        model, teacher, alpha=0.5, augment=ColorBlur(image_size=40, seed=3, compile=False)
    )
    call = model.call
    model.call = lambda images, training: student_sees.append((images, training)) or call(images, training)
    batch = tensors(make_batches(1)[0])
    learner.objective(batch)
    ((seen, training),) = student_sees
    assert training is True
    assert teacher.training == [False]
    np.testing.assert_array_equal(teacher.seen[0], seen[:8])
    np.testing.assert_array_equal(teacher.seen[0], learner.augment(batch["views"], 0))
    assert not np.array_equal(teacher.seen[0], batch["views"][:, 0] / 255)


def test_the_streams_have_colors_of_their_own():
    learner = make_distiller(alpha=0.5, augment=ColorBlur(image_size=40, seed=3, compile=False))
    seen = []
    images = learner.images
    learner.images = lambda *arguments, **options: seen.append(images(*arguments, **options)) or seen[-1]
    batch = tensors(make_batches(1)[0])
    learner.objective(batch | {"labeled_views": batch["views"]})
    assert not any(np.array_equal(ours, theirs) for ours, theirs in zip(*seen))


def test_teacher_is_no_part_of_the_learner():
    teacher = make_teacher(dtype="mixed_bfloat16")
    learner = make_distiller(teacher=teacher, decayed_in_loss=lambda path: True, alpha=0.5)
    before = [v.numpy() for v in teacher.variables]
    students = {id(v) for v in learner.model.variables}
    train(learner, make_batches(2))
    np.testing.assert_equal([v.numpy() for v in teacher.variables], before)
    theirs = {id(v) for v in teacher.variables}
    assert not theirs & {id(v) for v in learner.variables}
    assert not theirs & {id(v) for v in learner.state().values()}
    assert teacher not in learner.layers
    assert students <= {id(v) for v in learner.state().values()}


@pytest.mark.slow
def test_any_callable_can_teach():
    def teacher(images, training):
        return {
            "logits": tf.one_hot([0, 1, 2, 0, 1, 2, 0, 1], 3) * 5.0 + 0 * tf.reduce_sum(images),
            "more": 1,
        }

    learner = make_distiller(teacher=teacher)
    for _ in range(5):
        train(learner, make_batches(4))
    assert float(learner.get_metrics_result()["agreement"]) > 0.4


def test_frozen_means_frozen_and_layers_above_the_classifier_take_no_part():
    model = make_model(proj_layers=2, head_layer=1, after_block=ENCODER)
    learner = make_distiller(model, alpha=0.5, optimizer=keras.optimizers.AdamW(1e-2, weight_decay=0.1))
    before = {v.path: v.numpy() for v in model.variables}
    train(learner, make_batches(2))
    moved = {v.path for v in model.variables if not np.array_equal(v.numpy(), before[v.path])}
    assert {path for path in moved if "moving" not in path} == {
        f"simclr/{name}"
        for name in (
            "classifier/kernel",
            "classifier/bias",
            "projection_head/dense1/kernel",
            "projection_head/bn1/gamma",
            "projection_head/bn1/beta",
        )
    }
    assert not any("encoder" in path for path in moved)


def test_fit_takes_the_same_steps_and_lowers_the_loss():
    by_hand, fitted = make_distiller(alpha=0.5), make_distiller(alpha=0.5)
    batches = make_batches(2, ALL_LABELED)
    figures = train(by_hand, batches)[-1]
    dataset = as_dataset(batches)
    history = fitted.fit(dataset, verbose=0).history
    assert history.keys() == set(by_hand.averages)
    assert_close({name: np.float32(x[0]) for name, x in history.items()}, figures, 1e-5)
    assert_close(values(fitted), values(by_hand), 1e-5)
    history = fitted.fit(dataset, epochs=15, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.02
    assert history["agreement"][-1] >= history["agreement"][0]


def step(learner, *names):
    return lambda: learner().train_step(only(make_batches(1), *names)[0])


def strange_teacher(answer):
    return lambda: make_distiller(teacher=lambda images, training: answer)


BAD = {
    "alpha above 1": (lambda: make_distiller(alpha=1.1), r"alpha must be in \[0, 1\]\. Received: alpha=1\.1"),
    "alpha below 0": (lambda: make_distiller(alpha=-0.1), r"Received: alpha=-0\.1"),
    "alpha NaN": (lambda: make_distiller(alpha=float("nan")), r"Received: alpha=nan"),
    "temperature 0": (
        lambda: make_distiller(temperature=0),
        r"temperature must be above 0\. Received: temperature=0",
    ),
    "no classifier": (
        lambda: make_distiller(SimCLRModel(TinyEncoder(), proj_layers=0)),
        r"The model needs a classifier.*Received: a model without one",
    ),
    "stop-gradient": (
        lambda: make_distiller(make_model(stop_gradient=True)),
        r"stop_gradient=False.*Received: a model with stop_gradient=True",
    ),
    "no teacher": (lambda: Distiller(make_model(), None), r"a teacher, a callable\. Received: teacher=None"),
    "teaching itself": (
        lambda: Distiller(*[make_model()] * 2),
        r"network of its own\. Received: the student",
    ),
    "teacher without classifier": (
        lambda: make_distiller(teacher=make_model(num_classes=None)),
        r"The teacher needs a classifier\. Received: a model without one",
    ),
    "a model of other classes": (
        lambda: make_distiller(teacher=make_model(num_classes=5)),
        r"the same classes\. Received: 5 classes of the teacher, 3 of the student",
    ),
    "a callable of other classes": (
        step(strange_teacher({"logits": np.ones((8, 5), np.float32)}), "views"),
        r"the same classes\. Received: 5 classes of the teacher, 3 of the student",
    ),
    "a teacher without logits": (
        step(strange_teacher({"probabilities": 1}), "views"),
        r"must return a dict with logits\. Received: \['probabilities'\]",
    ),
    "a teacher of tensors": (
        step(strange_teacher(np.ones((8, 3))), "views"),
        r"must return a dict with logits\. Received: ndarray",
    ),
    "no views": (
        step(make_distiller, "id", "labeled_views"),
        r"A batch is a dict of views\. Received: \['id', 'labeled_views'\]",
    ),
    "no labeled stream": (
        step(lambda: make_distiller(alpha=0.5), "id", "views"),
        r"A batch is a dict of labeled_label and labeled_views and views\. Received: \['id', 'views'\]",
    ),
    "no labels": (
        step(lambda: make_distiller(alpha=0.0), "labeled_views"),
        r"A batch is a dict of labeled_label and labeled_views\. Received: \['labeled_views'\]",
    ),
}


@pytest.mark.slow
def test_bad_input_is_refused_in_one_line():
    for call, message in BAD.values():
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
