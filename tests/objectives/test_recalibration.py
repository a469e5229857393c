"""Moving statistics after a recalibration, beside the mean and variance over all examples."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import Classifier, Distiller, create_model
from simclr_keras.models.freezing import freeze
from simclr_keras.objectives.recalibration import Recalibration, trained_statistics
from tests.training.tiny import create_tiny_model

STRATEGY = tf.distribute.get_strategy()


def states(model):
    return {variable.path: variable.numpy() for variable in model.variables}


@pytest.mark.slow
def test_statistics_are_those_of_all_batches():
    model = create_model("r18_0.05x_sk0", num_classes=3, proj_layers=0, image_size=8)
    learner = Classifier(model)
    views = np.random.default_rng(2).uniform(size=[3, 4, 1, 8, 8, 3]).astype("float32")
    batches = [{"views": tf.constant(batch)} for batch in views]
    before = states(model)
    recalibrate = Recalibration(learner, STRATEGY)
    recalibrate(batches)
    after = states(model)
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    assert changed == {path for path in before if "moving_" in path}
    # The first layer's inputs do not depend on other statistics: its are those of all images at once.
    first = next(layer for layer in trained_statistics(model) if "/stem/" in layer.path)
    inputs = model(views.reshape(12, 8, 8, 3))["initial_conv"].numpy().astype("float64")
    np.testing.assert_allclose(first.moving_mean, inputs.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(first.moving_variance, inputs.var(axis=(0, 1, 2)), rtol=1e-4)
    assert {layer.momentum for layer in trained_statistics(model)} == {0.9}
    recalibrate(batches)
    for path, value in states(model).items():
        np.testing.assert_array_equal(value, after[path])
    # A frozen network keeps its statistics.
    freeze(model, 4)
    assert not trained_statistics(model)


def test_replicas_find_the_statistics_of_one_device(mirrored):
    views = np.random.default_rng(2).uniform(size=[3, 4, 1, 8, 8, 3]).astype("float32")
    states_of_both = []
    for strategy in (STRATEGY, mirrored):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = create_tiny_model("tiny", image_size=8, dtype="float32", num_classes=3, proj_layers=0)
            learner = Classifier(model)
        batches = tf.data.Dataset.from_tensor_slices({"views": views.reshape(12, 1, 8, 8, 3)}).batch(4, True)
        Recalibration(learner, strategy)(strategy.experimental_distribute_dataset(batches))
        states_of_both.append(states(model))
    assert any(
        "moving_mean" in path and np.abs(value).max() > 0.01 for path, value in states_of_both[0].items()
    )
    for path, value in states_of_both[1].items():
        np.testing.assert_allclose(value, states_of_both[0][path], rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "streams"), [(0.0, [1]), (0.5, [0, 1])])
def test_a_distillation_is_recalibrated_on_both_streams(alpha, streams):
    """As its student is trained: on both at once, and on no image whose loss has no weight."""
    student, teacher = (
        create_model("r18_0.05x_sk0", num_classes=3, proj_layers=0, image_size=8) for _ in "ab"
    )
    views = np.random.default_rng(2).uniform(size=[2, 2, 4, 1, 8, 8, 3]).astype("float32")  # stream, batch
    batches = [
        {"views": tf.constant(views[0, i]), "labeled_views": tf.constant(views[1, i])} for i in range(2)
    ]
    Recalibration(Distiller(student, teacher, alpha=alpha), STRATEGY)(batches)
    first = next(layer for layer in trained_statistics(student) if "/stem/" in layer.path)
    images = views[streams].reshape(-1, 8, 8, 3)
    inputs = student(images)["initial_conv"].numpy().astype("float64")
    np.testing.assert_allclose(first.moving_mean, inputs.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)
