"""Learners with any Keras optimizer: loss scales, dtype policies, averages, accumulation, clipping on replicas."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.objectives.classification import Classifier
from tests.objectives.spoiled_batches import INF, Spoiled, good_batches
from tests.objectives.tiny_classifier import make_model
from tests.objectives.tiny_learner import (
    as_dataset,
    assert_close,
    assert_equal,
    make_batches,
    make_learner,
    train,
)

SGD = keras.optimizers.SGD


def weights(learner):
    return {variable.path: variable.numpy() for variable in learner.model.variables}


def take_steps(learner, batches):
    """Without tracing, which would take most of the time."""
    for batch in batches:
        learner.train_step({name: tf.constant(value) for name, value in batch.items()})


def two_steps(learner):
    """The weights after two steps."""
    take_steps(learner, make_batches(2))
    return weights(learner)


def trained(**options):
    return two_steps(make_learner(**options))


def loss_scaled(rate, initial_scale=2.0**15, **options):
    return keras.optimizers.LossScaleOptimizer(SGD(rate, **options), initial_scale)


@pytest.mark.slow
def test_a_loss_scale_changes_no_bit_of_a_step():
    plain = trained(optimizer=SGD(0.1), probe_optimizer=SGD(0.5))
    scaled = [
        (SGD(0.1, loss_scale_factor=1024.0), SGD(0.5)),
        (SGD(0.1), SGD(0.5, loss_scale_factor=16.0)),
        (loss_scaled(0.1), SGD(0.5, loss_scale_factor=16.0)),
        (loss_scaled(0.1), loss_scaled(0.5)),
    ]
    for optimizer, probe_optimizer in scaled:
        assert_equal(trained(optimizer=optimizer, probe_optimizer=probe_optimizer), plain)


def test_the_policy_is_the_models_not_the_global_one():
    plain = trained(optimizer=SGD(0.1))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        learner = make_learner(optimizer=SGD(0.1))
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(learner.optimizer, SGD)
    take_steps(learner, make_batches(2))
    assert_equal(weights(learner), plain)


@pytest.mark.slow
def test_a_float16_model_trains_with_a_scaled_loss():
    learner = make_learner(dtype="mixed_float16", optimizer=SGD(0.1))
    assert isinstance(learner.optimizer, SGD)
    learner.loss_scale.scale.assign(64.0)  # at its start, the first steps would overflow
    wrapped = make_learner(dtype="mixed_float16", optimizer=loss_scaled(0.1, initial_scale=64.0))
    assert not wrapped.loss_scale
    before = weights(make_learner())
    expected, *changes = (
        np.concatenate([(value - before[path]).ravel() for path, value in after.items()])
        for after in (trained(optimizer=SGD(0.1)), two_steps(learner), two_steps(wrapped))
    )
    for change in changes:
        assert np.linalg.norm(change - expected) < 0.05 * np.linalg.norm(expected)


def test_a_loss_scale_sinks_at_a_skipped_batch():
    learner = make_learner(
        dtype="float32", learner_class=Spoiled, optimizer=loss_scaled(0.1), on_nan="skip_batch"
    )
    before, batch = weights(learner), good_batches(1)[0]
    batch["factor"] = np.full(8, INF, np.float32)
    take_steps(learner, [batch])
    assert learner.skipped == (1, 1)
    assert_equal(weights(learner), before)
    assert float(learner.optimizer.dynamic_scale.numpy()) == 2.0**14


@pytest.mark.slow
def test_clipped_steps_on_replicas_equal_one_device():
    strategy, learners = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), []
    for scope in (contextlib.nullcontext(), strategy.scope()):
        with scope:
            optimizer, probe_optimizer = SGD(0.1, global_clipnorm=0.2), SGD(0.5, clipnorm=0.01)
            learners.append(
                make_learner(dtype="float64", optimizer=optimizer, probe_optimizer=probe_optimizer)
            )
    alone, together = learners
    train(alone, make_batches(2))
    train(together, make_batches(2), strategy)
    assert_close(weights(together), weights(alone), 1e-9)


def averages(optimizer):
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    paths = [variable.path for variable in optimizer._trainable_variables]
    return dict(zip(paths, [average.numpy() for average in optimizer._model_variables_moving_average]))


@pytest.mark.slow
def test_averages_are_written_to_their_own_variables():
    # The network has a head layer above the classifier, which nothing trains.
    classifier = Classifier(make_model(proj_layers=2, head_layer=1))
    classifier.compile(SGD(0.1, use_ema=True, ema_momentum=0.5))
    probed = make_learner(optimizer=loss_scaled(0.1, use_ema=True), probe_optimizer=SGD(0.5, use_ema=True))
    for learner, views in ((classifier, 1), (probed, 2)):
        before = weights(learner)
        batches = [{**batch, "views": batch["views"][:, :views]} for batch in make_batches(2)]
        learner.fit(as_dataset(batches), shuffle=False, verbose=0)
        expected = averages(learner.optimizer)
        if learner.probe_optimizer:
            expected |= averages(learner.probe_optimizer)
        trained = {variable.path for variable in learner.main_variables + learner.probe_variables}
        assert expected.keys() == trained
        after = weights(learner)
        assert_equal({path: after[path] for path in trained}, expected)
        assert not [path for path in trained if np.array_equal(after[path], before[path])]
        unused = [variable.path for variable in learner.unused_variables]
        assert_equal({path: after[path] for path in unused}, {path: before[path] for path in unused})


def test_micro_batches_of_a_step_have_colors_of_their_own():
    seen = []

    def augment(views, step):
        seen.append(int(step))
        return tf.cast(tf.concat(tf.unstack(views, axis=1), axis=0), tf.float32) / 255

    learner = make_learner(optimizer=SGD(0.1, gradient_accumulation_steps=2), augment=augment)
    for batch in make_batches(4):
        learner.train_step({name: tf.constant(value) for name, value in batch.items()})
    assert seen == [0, 1, 2, 3]


@pytest.mark.slow
def test_state_of_wrapped_optimizers_has_unique_names():
    plain = make_learner(optimizer=SGD(0.1, momentum=0.9)).state()
    wrapped = make_learner(optimizer=loss_scaled(0.1, momentum=0.9)).state()
    assert {name.replace("optimizer/0/", "optimizer/") for name in wrapped} >= plain.keys()
    assert {"optimizer/dynamic_scale", "optimizer/0/iteration"} < wrapped.keys()
