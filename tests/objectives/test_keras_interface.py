"""Learners as Keras models: fit, evaluate, callbacks, saving; what they refuse is one line."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.errors import InputError
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.objectives.classification import Classifier
from tests.objectives.tiny_classifier import ALL_LABELED, SOME_LABELED, make_classifier, make_distiller, only
from tests.objectives.tiny_classifier import make_batches as labeled_batches
from tests.objectives.tiny_classifier import make_model as make_classifier_model
from tests.objectives.tiny_learner import SIZE, as_dataset, make_batches, make_learner

BATCH = only(labeled_batches(1), "views", "label")[0]


def some_rows(arrays, rows):
    return {name: array[rows] for name, array in arrays.items()}


def test_evaluation_is_the_mean_over_all_images_in_inference_mode():
    learner = make_classifier(augment=lambda views, step: pytest.fail("colors are changed in training only"))
    arrays = BATCH | {"label": ALL_LABELED}
    before = [weight.numpy() for weight in learner.variables]
    # The last batch is smaller.
    figures = learner.evaluate(arrays, batch_size=5, verbose=0, return_dict=True)
    logits = learner.model(arrays["views"][:, 0] / np.float32(255))["logits"].numpy().astype(np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), ALL_LABELED]
    assert figures.keys() == {"loss", "accuracy"}
    np.testing.assert_allclose(figures["loss"], losses.mean(), rtol=1e-5)
    assert figures["accuracy"] == np.mean(logits.argmax(axis=1) == ALL_LABELED)
    assert all(np.array_equal(old, new.numpy()) for old, new in zip(before, learner.model.variables))


@pytest.mark.slow
def test_fit_validates_every_learner():
    batches = labeled_batches(2)
    for learner, dataset in [
        (make_classifier(), as_dataset(only(batches, "views", "label"))),
        (make_distiller(alpha=0.5), as_dataset(batches)),
        (make_learner(), as_dataset(make_batches(2))),
    ]:
        history = learner.fit(dataset, validation_data=dataset.take(1), verbose=0).history
        expected = {"loss", *learner.averages}
        assert history.keys() == expected | {f"val_{name}" for name in expected}
        assert history["loss"] == history[next(iter(learner.averages))]
        assert np.isfinite(history["val_loss"][0])


def test_contrastive_evaluation_has_the_same_colors_each_time():
    augment = ColorBlur(image_size=SIZE, compile=False)
    learner = make_learner(num_classes=None, augment=augment)
    views = tf.constant(make_batches(1)[0]["views"])
    first = learner.test_step({"views": views})["loss"].numpy()
    learner.optimizer.iterations.assign(7)
    learner.reset_metrics()
    assert learner.test_step({"views": views})["loss"] == first
    first_images, second_images = (augment(views, step) for step in (-1, 7))
    assert not np.array_equal(first_images, second_images)


@pytest.mark.slow
def test_labels_of_every_integer_type_count_the_same():
    losses = []
    columns = SOME_LABELED[:, None]  # as in keras.datasets.cifar10
    for labels in (*map(SOME_LABELED.astype, ("int8", "int32", "int64")), columns):
        figures = make_classifier().train_on_batch(BATCH | {"label": labels}, return_dict=True)
        losses.append(figures["loss"])
    by_hand = make_classifier()
    by_hand.train_step(BATCH)
    assert set(losses) == {float(by_hand.get_metrics_result()["loss"])}


def test_generators_of_dicts_are_taken():
    batches = only(labeled_batches(2), "views", "label")
    fitted = [make_classifier() for _ in range(2)]
    validation = {"validation_data": (batch for batch in batches), "validation_steps": 2}
    fitted[0].fit((batch for batch in batches), steps_per_epoch=2, verbose=0, **validation)
    fitted[1].fit(as_dataset(batches), verbose=0)
    for first, second in zip(*(learner.model.variables for learner in fitted)):
        np.testing.assert_array_equal(first.numpy(), second.numpy())


@pytest.mark.slow
def test_a_checkpoint_is_the_network(tmp_path):
    learner = make_classifier(make_classifier_model("r18_0.02x_sk0"))
    callback = keras.callbacks.ModelCheckpoint(tmp_path / "x.keras", monitor="val_loss", save_best_only=True)
    dataset = as_dataset([BATCH])
    learner.fit(dataset, validation_data=dataset, callbacks=[callback], verbose=0)
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    assert type(loaded) is SimCLRModel
    for first, second in zip(loaded.variables, learner.model.variables):
        np.testing.assert_array_equal(first.numpy(), second.numpy())
    again = make_classifier(loaded)
    learner.save_weights(tmp_path / "all.weights.h5")
    again.load_weights(tmp_path / "all.weights.h5")
    assert again.optimizer.iterations.numpy() == 1


IMAGES = np.zeros((8, SIZE, SIZE, 3), "float32")
REFUSED = {
    "loss": (lambda x: x.compile("sgd", loss="mse"), "its own loss.*leave loss out.*loss='mse'"),
    "metrics": (lambda x: x.compile("sgd", metrics=["accuracy"]), "leave metrics out"),
    "loss as the second argument": (lambda x: x.compile("sgd", "mse"), "`probe_optimizer`, an optimizer or"),
    "images and labels": (lambda x: x.fit(IMAGES, ALL_LABELED), r"one dict, such as .*Received: y"),
    "class_weight": (lambda x: x.fit(BATCH, class_weight={0: 2.0}), "no class_weight: repeat images"),
    "class_weight of a batch": (lambda x: x.train_on_batch(BATCH, class_weight={0: 2.0}), "no class_weight"),
    "sample_weight": (lambda x: x.fit(BATCH, sample_weight=np.ones(8)), "no sample_weight: repeat images"),
    "sample_weight of evaluate": (lambda x: x.evaluate(BATCH, sample_weight=np.ones(8)), "no sample_weight"),
    "validation labels": (lambda x: x.evaluate(IMAGES, ALL_LABELED, verbose=0), "Received: y"),
    "one-hot labels": (lambda x: x.fit(BATCH | {"label": np.eye(8, dtype="float32")}), r"float32\[\w+, 8\]"),
    "int32 pixels": (lambda x: x.fit(BATCH | {"views": BATCH["views"].astype("int32")}), "dtype=int32"),
    "gray images": (lambda x: x.fit(BATCH | {"views": BATCH["views"][..., :1]}), r", 1, 8, 8, 1\]"),
    "no views axis": (lambda x: x.fit(BATCH | {"views": IMAGES}), r"Received: \[\w+, 8, 8, 3\]"),
    "one image": (lambda x: x(IMAGES[0]), r"images\[None\]. Received: shape \(8, 8, 3\)"),
    "predict one image": (lambda x: x.predict(IMAGES[0], verbose=0), r"images\[None\]"),
    "predict a dict": (lambda x: x.predict(BATCH, verbose=0), "Received: dict"),
    "predict bytes": (lambda x: x.predict(BATCH["views"][:, 0], verbose=0), "dtype=uint8"),
    "compile of a model": (lambda x: x.model.compile("sgd", "mse"), r"train it with .*Classifier\(model\)"),
}


def test_refusals_are_one_line():
    learner = make_classifier()
    before = [weight.numpy() for weight in learner.model.variables]
    for name, (call, message) in REFUSED.items():
        with pytest.raises(InputError, match=message) as caught:
            call(learner)
        assert "\n" not in str(caught.value), name
    assert all(np.array_equal(old, new.numpy()) for old, new in zip(before, learner.model.variables))
    with pytest.raises(NotImplementedError, match=r"learner\.model.*construct a new one"):
        keras.models.clone_model(learner)


def test_several_steps_per_execution_need_one_replica(mirrored):
    with mirrored.scope():
        learner = Classifier(make_classifier_model())
    with pytest.raises(InputError, match=r"leave steps_per_execution out.*steps_per_execution=2"):
        learner.compile("sgd", steps_per_execution=2)
