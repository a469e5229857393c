"""Keras backbones train, freeze and run on replicas and TPUs as our own encoders do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.freezing import freeze
from tests import tpu_tracing
from tests.models.small_backbones import IMAGES, LABELS, create, noise, values


def loss_of(model, images, labels):
    logits = model(images, training=True)["logits"]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(losses) / tf.distribute.get_strategy().num_replicas_in_sync


def train(model, steps=1):
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = loss_of(model, IMAGES, LABELS)
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))


def test_a_frozen_backbone_stands_still_while_the_dense_layers_train():
    model = create(backbone_trainable=False)
    before = values(model)
    train(model, steps=2)
    changed = {path for path, value in values(model).items() if not np.array_equal(value, before[path])}
    assert changed == {path for path in before if "/base/" not in path}
    np.testing.assert_array_equal(model(IMAGES)["pooled"], model(IMAGES, training=True)["pooled"])


def test_a_trainable_backbone_trains():
    model = create()
    before = values(model)
    train(model, steps=2)
    # Dense layers may have units that no image reaches.
    moved = [path for path, value in values(model).items() if not np.array_equal(value, before[path])]
    assert len(moved) == len(before)


@pytest.mark.parametrize("backbone_trainable", [True, False])
def test_freezing_knows_backbones(backbone_trainable):
    model = create(backbone_trainable=backbone_trainable)
    trainable = {variable.path for variable in model.trainable_variables}
    freeze(model, 4)
    assert {variable.path for variable in model.trainable_variables} == {
        "simclr/classifier/kernel",
        "simclr/classifier/bias",
    }
    freeze(model, -1)
    assert {variable.path for variable in model.trainable_variables} == trainable
    assert any("/base/" in path for path in trainable) == backbone_trainable
    for after_block in (0, 1, 2, 3):
        with pytest.raises(InputError, match=f"-1 .* or 4 .*freeze_through={after_block}"):
            freeze(model, after_block)


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [2], indirect=True)
def test_replicas_equal_one_device(mirrored):
    images = noise(8, 32, 32, 3)
    labels = np.tile([0, 1, 2, 1], 2)

    def step(model, images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(model, images, labels)
        return tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    alone = create(dtype="float64")
    with mirrored.scope():
        model = create(dtype="float64")
    for theirs, ours in zip(alone.variables, model.variables):
        np.testing.assert_array_equal(theirs.numpy(), ours.numpy())
    expected = step(alone, images, labels)

    def share(array):
        parts = np.split(array, mirrored.num_replicas_in_sync)
        return mirrored.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    run = tf.function(lambda *batch: mirrored.run(lambda *part: step(model, *part), args=batch))
    gradients = run(share(images), share(labels))
    for variable, gradient, whole in zip(model.trainable_variables, gradients, expected):
        total = sum(np.asarray(part) for part in mirrored.experimental_local_results(gradient))
        np.testing.assert_allclose(total, whole, rtol=1e-7, atol=1e-9, err_msg=variable.path)
    for theirs, ours in zip(alone.non_trainable_variables, model.non_trainable_variables):
        for part in mirrored.experimental_local_results(ours.value):
            np.testing.assert_allclose(part.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-12, err_msg=ours.path)


@pytest.mark.slow
def test_a_step_traces_for_tpus():
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        model = create()

    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(model, images, labels)
        return tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    specs = tf.TensorSpec([2, 32, 32, 3], tf.float32), tf.TensorSpec([2], tf.int32)
    found = tpu_tracing.findings(tpu_tracing.trace(strategy, step, *specs))
    assert not found.without_kernel
    assert not found.without_shape
    assert found.collectives
