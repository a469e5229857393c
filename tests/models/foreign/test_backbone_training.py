"""Keras backbones train and freeze, on labels and on pairs of views, as our own encoders do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.export.formats.saved_model import write_saved_model
from simclr_keras.models.freezing import freeze
from simclr_keras.objectives.contrastive import ContrastiveLearner
from simclr_keras.runs.checkpoints import Checkpoints
from tests.models.foreign.small_backbones import (  # noqa: F401  with the fixture of short networks
    IMAGES,
    LABELS,
    create,
    short_applications,
    values,
)
from tests.objectives.tiny_learner import assert_equal, make_step
from tests.objectives.tiny_learner import values as state_of


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


@pytest.mark.slow
def test_a_frozen_backbone_stands_still_while_the_dense_layers_train():
    model = create(backbone_trainable=False)
    before = values(model)
    train(model, steps=2)
    changed = {path for path, value in values(model).items() if not np.array_equal(value, before[path])}
    assert changed == {path for path in before if "/base/" not in path}
    np.testing.assert_array_equal(model(IMAGES)["pooled"], model(IMAGES, training=True)["pooled"])


@pytest.mark.slow
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
@pytest.mark.parametrize("name", ["MobileNetV3Small", "ConvNeXtTiny"])
def test_contrastive_training(name, tmp_path):
    """The loss falls, two replicas equal one device, a resumed run ends with the same bits, and an export loads."""

    def learner():
        options = {"proj_dim": 8, "num_classes": 3, "stop_gradient": True, "dtype": "float64"}
        keras.utils.set_random_seed(0)
        model = create(f"keras:{name}", **options, proj_mode="nonlinear", dense_layers=())
        learner = ContrastiveLearner(model, temperature=0.5)
        learner.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
        return learner

    views = np.random.default_rng(1).integers(256, size=(4, 2, 32, 32, 3), dtype=np.uint8)
    batch = {"views": views, "label": np.array([0, 1, 2, 0], np.int32), "id": np.arange(4, dtype=np.int32)}
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    alone = learner()
    with strategy.scope():
        together = learner()
    step, replicated = make_step(alone), make_step(together, strategy)
    checkpoints = Checkpoints(str(tmp_path), alone.state(), keep=1)
    losses = []
    for i in range(6):
        alone.reset_metrics()
        step(batch)
        losses.append(float(alone.get_metrics_result()["contrastive_loss"]))
        if i == 0:
            together.reset_metrics()
            replicated(batch)
            expected = state_of(alone)
            for key, value in state_of(together).items():  # atol: gradients that are 0 but for rounding
                np.testing.assert_allclose(value, expected[key], 1e-9, 1e-12, err_msg=key)
        if i == 3:
            checkpoints.save(i)
    assert losses[-1] < losses[0]
    ended = state_of(alone)
    assert checkpoints.restore() == 3
    for _ in range(2):
        alone.reset_metrics()
        step(batch)
    assert_equal(state_of(alone), ended)

    model = create(f"keras:{name}", proj_dim=8, proj_mode="nonlinear", dense_layers=())
    for ours, trained in zip(model.variables, alone.model.variables, strict=True):
        ours.assign(trained)
    write_saved_model(model, str(tmp_path / "export"), image_size=32)
    outputs = tf.saved_model.load(str(tmp_path / "export"))(tf.constant(IMAGES))
    for endpoint, expected in model(IMAGES).items():
        if endpoint in outputs:
            np.testing.assert_allclose(outputs[endpoint], expected, rtol=1e-4, atol=1e-5)
