"""remat: the loss, gradients and statistics of training without it; one update of statistics; TPU tracing."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.remat import enable_remat
from simclr_keras.models.resnet import ResNet
from simclr_keras.models.simclr import SimCLRModel
from tests import tpu_tracing
from tests.models.block_encoders import OneBlock, TwoBlocks
from tests.objectives.tiny_learner import TinyEncoder

IMAGES = np.random.default_rng(0).uniform(size=(8, 8, 8, 3))


def make_model(remat, dtype, encoder=TwoBlocks):
    keras.utils.set_random_seed(0)
    model = SimCLRModel(encoder(dtype=dtype), num_classes=3, proj_mode="none", dtype=dtype)
    model.build((None, 8, 8, 3))
    for variable in model.encoder.trainable_variables:
        if variable.path.endswith(
            "gamma"
        ):  # the last one of each block starts at 0 and would stop all gradients
            variable.assign(keras.random.uniform(variable.shape, 0.5, 1.5, variable.dtype, seed=1))
    if encoder is OneBlock:
        model.encoder.block_group1.block1.shortcut_conv.trainable = False  # nothing may be assigned to it
    if remat:
        enable_remat(model)
    return model


def make_step(model):
    """A function of images to the loss and all gradients, by name."""

    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(images, training=True)["logits"]))
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        return {"loss": loss, **{v.path: g for v, g in zip(variables, gradients)}}

    return step


def outcome(remat, dtype, strategy=None):
    """Loss, gradients and moving statistics of one step by name; lists of one array per replica."""
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        # On replicas without the layers that add nothing but collectives.
        model = make_model(remat, dtype, TwoBlocks if strategy.num_replicas_in_sync == 1 else OneBlock)
    rows = len(IMAGES) // strategy.num_replicas_in_sync
    images = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(
            IMAGES[context.replica_id_in_sync_group * rows :][:rows],
            "float64" if dtype == "float64" else "float32",
        )
    )
    step = tf.function(lambda images: strategy.run(make_step(model), args=(images,)), autograph=False)
    results = {
        name: [part.numpy() for part in strategy.experimental_local_results(value)]
        for name, value in step(images).items()
    }
    statistics = {v.path: [v.numpy()] for v in model.non_trainable_variables}
    return results | statistics, step.get_concrete_function(images).graph


def assert_close(actual, expected, tolerance):
    assert actual.keys() == expected.keys()
    for name, parts in expected.items():
        for part, same in zip(parts, actual[name], strict=True):
            scale = np.abs(part).max()
            assert scale > 0, name
            np.testing.assert_allclose(same, part, 0, tolerance * scale, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-5), ("mixed_bfloat16", 1e-2)]
)
def test_equals_training_without_it(dtype, tolerance):
    plain, graph = outcome(False, dtype)
    recomputed, graph_of_remat = outcome(True, dtype)
    assert_close(recomputed, plain, tolerance)
    # The two blocks' convolutions are computed twice, the stem's is not.
    convolutions, twice = (
        sum(operation.type == "Conv2D" for operation in g.get_operations()) for g in (graph, graph_of_remat)
    )
    assert twice == 2 * convolutions - 1


@pytest.mark.slow
def test_equals_training_without_it_on_replicas():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    plain, _ = outcome(False, "float64", strategy)
    recomputed, _ = outcome(True, "float64", strategy)
    assert_close(recomputed, plain, 1e-9)


def test_frozen_blocks_are_not_recomputed():
    model = make_model(True, "float32")
    model.encoder.block_group1.block1.trainable = False
    before = {v.path: v.numpy() for v in model.encoder.block_group1.block1.variables}
    gradients = make_step(model)(tf.constant(IMAGES, tf.float32))
    assert all(gradient is not None for gradient in gradients.values())
    for variable in model.encoder.block_group1.block1.variables:
        np.testing.assert_array_equal(variable.numpy(), before[variable.path])


@pytest.mark.slow
def test_traces_for_tpus():
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        model = make_model(True, "mixed_bfloat16")
    graph = tpu_tracing.trace(strategy, make_step(model), tf.TensorSpec([4, 8, 8, 3], tf.float32))
    findings = tpu_tracing.findings(graph)
    assert findings.collectives
    assert not findings.without_kernel
    assert not findings.without_shape
    types = collections.Counter(node.op for node in tpu_tracing.replicated_nodes(graph))
    assert types["Conv2D"] > types["Conv2DBackpropFilter"]


def test_saved_model_is_the_same():
    model = make_model(True, "float32", lambda dtype: ResNet(18, 0.05, small_images=True, dtype=dtype))
    plain = make_model(False, "float32", lambda dtype: ResNet(18, 0.05, small_images=True, dtype=dtype))
    assert model.get_config() == plain.get_config()
    assert [v.path for v in model.variables] == [v.path for v in plain.variables]


def test_encoder_without_block_groups_is_refused():
    model = SimCLRModel(TinyEncoder(), num_classes=3, proj_mode="none")
    with pytest.raises(InputError, match="groups of residual blocks"):
        enable_remat(model)
