"""Classifier on one device: the loss and its twin, missing labels, frozen parts, what takes no part, bad input, fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.errors import InputError
from simclr_keras.models.freezing import ENCODER
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.objectives.classification import (
    FIGURES,
    Classifier,
    balanced_weights,
    labeled_loss,
    softmax_cross_entropy,
)
from simclr_keras.optim.lars import LARS
from tests.objectives import cross_entropy_twin as twin
from tests.objectives.tiny_classifier import (
    ALL_LABELED,
    SOME_LABELED,
    compiled,
    make_batches,
    make_classifier,
    make_model,
    only,
)
from tests.objectives.tiny_learner import TinyEncoder, as_dataset, train


def weights(learner):
    return {v.path: v.numpy() for v in learner.model.variables}


def moved(before, after):
    return {name for name, value in before.items() if not np.array_equal(value, after[name])}


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_and_its_gradient_are_those_of_the_twin(smoothing, scale, dtype):
    random = np.random.default_rng(0)
    logits = (scale * random.normal(size=(16, 5))).astype(dtype)
    labels = random.integers(5, size=16)
    given = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(given)
        losses = softmax_cross_entropy(given, labels, smoothing)
    expected, gradient = twin.labeled(logits, labels, smoothing)
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(losses, expected, tolerance, tolerance)
    np.testing.assert_allclose(tape.gradient(losses, given), gradient, 10 * tolerance, tolerance)


def test_rows_without_label_weigh_nothing():
    logits = tf.constant(np.random.default_rng(0).normal(size=(8, 3)))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss, figures = labeled_loss(logits, tf.constant(SOME_LABELED), FIGURES, 0.1)
    known = SOME_LABELED >= 0
    losses, gradient = twin.labeled(logits.numpy()[known], SOME_LABELED[known], 0.1)
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-12)
    by_logits = tape.gradient(loss, logits).numpy()
    np.testing.assert_allclose(by_logits[known], gradient / 3, rtol=1e-12)
    assert not by_logits[~known].any()
    hits = logits.numpy()[known].argmax(axis=1) == SOME_LABELED[known]
    np.testing.assert_allclose(figures["loss"], [losses.sum(), 3], rtol=1e-12)
    np.testing.assert_allclose(figures["accuracy"], [hits.sum(), 3])


def test_class_weights_multiply_the_losses_of_the_rows():
    logits = tf.constant(np.random.default_rng(0).normal(size=(8, 3)))
    weights = np.array([0.5, 4.0, 1.5])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss, figures = labeled_loss(logits, tf.constant(SOME_LABELED), FIGURES, 0.1, weights)
    known = SOME_LABELED >= 0
    losses, gradient = twin.labeled(logits.numpy()[known], SOME_LABELED[known], 0.1)
    factors = weights[SOME_LABELED[known]]
    np.testing.assert_allclose(loss, (factors * losses).mean(), rtol=1e-12)
    np.testing.assert_allclose(
        tape.gradient(loss, logits).numpy()[known], factors[:, None] * gradient / 3, rtol=1e-12
    )
    np.testing.assert_allclose(figures["loss"], [(factors * losses).sum(), 3], rtol=1e-12)


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.array([0, 0, 0, 0, 1, 3, 3, -1])
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels[:7])
    np.testing.assert_allclose(balanced_weights(labels, 5), [expected[0], expected[1], 0, expected[2], 0])


def test_a_batch_without_labels_trains_nothing():
    learner = make_classifier(weight_decay=0.0)
    before = {v.path: v.numpy() for v in learner.model.trainable_variables}
    figures = train(learner, make_batches(2, np.full(8, -1, np.int32)))[-1]
    assert figures == {"loss": 0, "accuracy": 0}
    assert not moved(before, weights(learner))


def test_figures_are_means_over_the_steps_and_the_labeled_images():
    model = make_model(dtype="float64", num_classes=3)
    model.classifier.kernel.assign(model.classifier.kernel * 300)
    learner = make_classifier(model, optimizer=keras.optimizers.SGD(0.0), label_smoothing=0.1)
    batches = make_batches(3)
    figures = train(learner, batches)[-1]
    assert tuple(figures) == FIGURES
    known = SOME_LABELED >= 0
    losses, hits = [], []
    for batch in batches:
        logits = model(batch["views"][:, 0] / 255, training=True)["logits"].numpy()[known]
        losses.append(twin.labeled(logits, SOME_LABELED[known], 0.1)[0])
        hits.append(logits.argmax(axis=1) == SOME_LABELED[known])
    np.testing.assert_allclose(list(figures.values()), [np.mean(losses), np.mean(hits)], rtol=1e-6)


OPTIMIZERS = {
    "decay in the loss": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "LARS": lambda: LARS(1.0, weight_decay=0.1),
    "AdamW": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1),
}
by_optimizer = pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


@by_optimizer
def test_all_of_the_network_trains(make_optimizer):
    learner = make_classifier(optimizer=make_optimizer())
    before = weights(learner)
    train(learner, make_batches(3))
    assert moved(before, weights(learner)) == before.keys()


@by_optimizer
def test_frozen_means_frozen(make_optimizer):
    learner = make_classifier(make_model(after_block=ENCODER), optimizer=make_optimizer())
    before = weights(learner)
    train(learner, make_batches(3))
    assert moved(before, weights(learner)) == {"simclr/classifier/kernel", "simclr/classifier/bias"}
    learner.fit(as_dataset(only(make_batches(2), "views", "label")), verbose=0)
    assert moved(before, weights(learner)) == {"simclr/classifier/kernel", "simclr/classifier/bias"}


def test_a_frozen_layer_keeps_its_statistics_while_its_neighbors_train():
    model = make_model()
    model.encoder.norm.trainable = False
    learner = make_classifier(model)
    before = weights(learner)
    train(learner, make_batches(3))
    still = before.keys() - moved(before, weights(learner))
    assert still == {
        f"simclr/encoder/bn/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }


@by_optimizer
def test_layers_above_the_classifier_take_no_part(make_optimizer, recwarn):
    learner = make_classifier(make_model(proj_layers=3, head_layer=1), optimizer=make_optimizer())
    before = {v.path: v.numpy() for v in learner.model.trainable_variables}
    train(learner, make_batches(3))
    above = {
        path for path in before if any(f"/{kind}{j}/" in path for kind in ("dense", "bn") for j in (2, 3))
    }
    assert len(above) == 5
    assert moved(before, weights(learner)) == before.keys() - above
    assert not any("Gradients do not exist" in str(warning.message) for warning in recwarn)


def test_views_change_with_the_step():
    augment = ColorBlur(image_size=40, seed=3, compile=False)
    learner = make_classifier(augment=augment)
    learner.optimizer.iterations.assign(5)
    views = make_batches(1)[0]["views"]
    images = learner.images(tf.constant(views), 1)
    np.testing.assert_array_equal(images, augment(tf.constant(views), 5))
    assert not np.array_equal(images, augment(tf.constant(views), 4))


BAD = {
    "no classifier": (
        lambda: Classifier(SimCLRModel(TinyEncoder(), proj_layers=0)),
        r"needs a classifier.*num_classes=.*Received: a model without one",
    ),
    "stop-gradient": (
        lambda: Classifier(make_model(stop_gradient=True)),
        r"stop_gradient=False.*Received: a model with stop_gradient=True",
    ),
    "smoothing of 1": (
        lambda: Classifier(make_model(), label_smoothing=1.0),
        r"label_smoothing must be at least 0 and below 1\. Received: label_smoothing=1\.0",
    ),
    "smoothing below 0": (
        lambda: Classifier(make_model(), label_smoothing=-0.1),
        r"Received: label_smoothing=-0\.1",
    ),
    "no label": (
        lambda: make_classifier().train_step(only(make_batches(1), "views", "id")[0]),
        r"A batch is a dict of label and views\. Received: \['id', 'views'\]",
    ),
    "no dict": (
        lambda: make_classifier().train_step(make_batches(1)[0]["views"]),
        r"A batch is a dict of label and views\. Received: ndarray",
    ),
    "two views": (
        lambda: make_classifier().train_step(
            {"views": np.zeros((8, 2, 8, 8, 3), np.uint8), "label": ALL_LABELED}
        ),
        r"Views must be \[batch, 1, height, width, 3\]\. Received: \[8, 2, 8, 8, 3\]",
    ),
}


def test_bad_input_is_refused_in_one_line():
    for call, message in BAD.values():
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_it_is_a_public_name_that_compiles_with_an_optimizers_name():
    import simclr_keras

    learner = compiled(simclr_keras.Classifier(make_model()), "sgd")
    assert learner.probe_variables == []
    assert learner.name == "classifier"
