"""Micro-batches: the gradients of their slow twin, of as many replicas, and of the undivided batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.foreign.layers import Dropout
from simclr_keras.models.remat import enable_remat
from simclr_keras.objectives.contrastive import ContrastiveLearner
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.training.engine.loop import make_step_function
from simclr_keras.training.engine.signals import Stop
from tests.models.block_encoders import OneBlock
from tests.objectives.tiny_learner import (
    BATCH,
    SOME_LABELED,
    TinyEncoder,
    as_dataset,
    assert_close,
    assert_equal,
    make_batches,
    make_learner,
    train,
    values,
)

SGD = keras.optimizers.SGD


class RandomEncoder(TinyEncoder):
    """With dropout of Keras and ours behind the convolution."""

    def build(self, input_shape):
        super().build(input_shape)
        self.dropout, self.depth = keras.layers.Dropout(0.3, seed=1), Dropout(0.3, (None, 1, 1, 1))
        self.depth.build((None, 8))

    def call(self, images, training=False):
        features = super().call(images, training=training)["final_avg_pool"]
        features = self.depth(self.dropout(features, training=training), training=training)
        return {"final_avg_pool": features}


class EncoderWithUnused(TinyEncoder):
    """With a weight on which the loss does not depend."""

    def build(self, input_shape):
        super().build(input_shape)
        self.unused = self.add_weight((3, 3), name="unused")


def shift_colors(views, step, position=None):
    """Brighter by an amount that depends on the step and on the row of the global batch."""
    first = position[0] if position else 0
    rows = tf.cast(tf.range(views.shape[0]) + first, tf.float64)
    brighter = tf.reshape(rows * 0.01 * (1 + tf.cast(step, tf.float64)), [-1, 1, 1, 1, 1])
    return tf.concat(tf.unstack(tf.cast(views, tf.float64) / 255 + brighter, axis=1), axis=0)


def tensors(batch):
    return {name: tf.constant(array) for name, array in batch.items()}


def take_steps(learner, batches):
    """As `train`, untraced."""
    for batch in batches:
        learner.train_step(tensors(batch))


def assert_same(actual, expected):
    """Compare what `loss_and_gradients` returned."""
    for ours, theirs in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-9, 1e-12)


def without_statistics(learner):
    return {name: value for name, value in values(learner).items() if "/moving_" not in name}


def twin(learner, batch, size):
    """`loss_and_gradients` of micro-batches, all on one tape: each is normalized alone."""
    with tf.GradientTape() as tape:
        parts = []
        for start in range(0, BATCH, size):
            views = batch["views"][start : start + size]
            images = learner.images(views, 2, position=(start, BATCH))
            parts.append(learner.model(images, training=True) | learner.momentum_outputs(images))
        outputs = {
            name: tf.concat([tf.split(part[name], 2)[view] for view in range(2) for part in parts], axis=0)
            for name in [*learner.endpoints, *learner.momentum_outputs(images, training=False)]
        }
        loss, figures = learner.loss_of(outputs, batch)
        loss += learner.decay_loss()
        scaled = loss * 16  # by the optimizer
    return loss, figures, tape.gradient(scaled, learner.main_variables + learner.probe_variables)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "memory_size"), [(2, None), (4, None), (2, 32)])
def test_equals_its_twin(size, memory_size):
    """Gradients, loss, figures; moving statistics and random draws, once per micro-batch; the queue."""
    options = {
        "dtype": "float64",
        "encoder": RandomEncoder,
        "augment": shift_colors,
        "optimizer": SGD(0.1, loss_scale_factor=16.0),
        "memory_size": memory_size,
    }
    learner = make_learner(microbatch_size=size, **options)
    slow = make_learner(**options)
    batch = tensors(make_batches(1, SOME_LABELED)[0])
    assert_same(learner.loss_and_gradients(batch), twin(slow, batch, size))
    for ours, theirs in zip(learner.state().values(), slow.state().values()):
        np.testing.assert_allclose(ours, theirs, 1e-12, err_msg=ours.path)


@pytest.mark.slow
def test_equals_the_undivided_batch_without_batch_statistics():
    results = []
    for size in (None, 2, BATCH):
        learner = make_learner(
            dtype="float64", microbatch_size=size, augment=shift_colors, optimizer=SGD(0.1)
        )
        for layer in learner.model._flatten_layers():
            if isinstance(layer, BatchNormalization):
                layer.trainable = False
        learner.compile(SGD(0.1), SGD(0.5))
        results.append(learner.loss_and_gradients(tensors(make_batches(1, SOME_LABELED)[0])))
    undivided, divided, whole = results
    assert_same(divided, undivided)
    assert_same(whole, undivided)


def test_a_variable_that_the_loss_does_not_reach_has_no_gradient():
    learner = make_learner(microbatch_size=4, encoder=EncoderWithUnused)
    _, _, gradients = learner.loss_and_gradients(tensors(make_batches(1)[0]))
    variables = learner.main_variables + learner.probe_variables
    assert [v.name for v, gradient in zip(variables, gradients) if gradient is None] == ["unused"]


@pytest.mark.slow
def test_rematerialization_changes_nothing():
    learners = [make_learner(dtype="float64", encoder=OneBlock, microbatch_size=4) for _ in range(2)]
    enable_remat(learners[1].model)
    batch = tensors(make_batches(1)[0])
    assert_same(*(learner.loss_and_gradients(batch) for learner in learners))
    assert_close(values(learners[1]), values(learners[0]), 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [2], indirect=True)
def test_equal_replicas_with_local_statistics(mirrored):
    with mirrored.scope():
        together = make_learner(dtype="float64", global_bn=False)
    alone = make_learner(dtype="float64", microbatch_size=BATCH // mirrored.num_replicas_in_sync)
    batches = make_batches(2, SOME_LABELED)
    for ours, theirs in zip(train(alone, batches), train(together, batches, mirrored)):
        assert_close(ours, theirs, 1e-9)
    assert_close(without_statistics(alone), without_statistics(together), 1e-9)


@pytest.mark.slow
def test_micro_batches_on_replicas_with_local_statistics_equal_one_device():
    """Two replicas with two micro-batches of two images each, and both steps in one call."""
    batches = make_batches(2, SOME_LABELED)
    options = {"dtype": "float64", "encoder": EncoderWithUnused}
    alone = make_learner(microbatch_size=2, **options)
    train(alone, batches)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        together = make_learner(microbatch_size=4, global_bn=False, **options)
    call = make_step_function(together, strategy, Stop())
    datasets = strategy.distribute_datasets_from_function(lambda context: as_dataset(batches, 2))
    call(iter(datasets), 2)
    assert_close(without_statistics(together), without_statistics(alone), 1e-9)
    for variable in together.model.variables:
        copies = strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(copies[0], copies[1], err_msg=variable.path)


@pytest.mark.slow
def test_resumed_state_continues_to_the_last_bit(tmp_path):
    batches = make_batches(3, SOME_LABELED)
    uninterrupted, resumed = (make_learner(microbatch_size=4, memory_size=32) for _ in range(2))
    take_steps(uninterrupted, batches[:2])
    Checkpoints(str(tmp_path), uninterrupted.state(), keep=1).save(2)
    take_steps(uninterrupted, batches[2:])
    for variable in resumed.state().values():
        variable.assign(variable * 2 + tf.ones([], variable.dtype))
    assert Checkpoints(str(tmp_path), resumed.state(), keep=1).restore() == 2
    take_steps(resumed, batches[2:])
    assert_equal(values(resumed), values(uninterrupted))


@pytest.mark.slow
def test_graph_has_one_copy_of_the_network_for_any_number():
    counts = []
    for size in (4, 1):
        learner = make_learner(microbatch_size=size)
        batch = tensors(make_batches(1)[0])
        graph = (
            tf.function(learner.train_step, autograph=False).get_concrete_function(batch).graph.as_graph_def()
        )
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        counts.append([sum(node.op == op for node in nodes) for op in ("Conv2D", "Conv2DBackpropFilter")])
    assert counts == [[2, 1], [2, 1]]


class OtherObjective(ContrastiveLearner):
    def objective(self, batch, training=True):
        return super().objective(batch, training)


@pytest.mark.slow
def test_refusals():
    with pytest.raises(InputError, match=r"override `loss_of`.*=4 and OtherObjective\.objective"):
        make_learner(microbatch_size=4, learner_class=OtherObjective)
    make_learner(learner_class=OtherObjective)
    with pytest.raises(InputError, match=r"1 or more, or None\. Received: microbatch_size=0"):
        make_learner(microbatch_size=0)
    with pytest.raises(InputError, match=r"a whole number, .*\. Received: microbatch_size=2\.0"):
        make_learner(microbatch_size=2.0)
    learner, batch = make_learner(microbatch_size=3), make_batches(1)[0]
    with pytest.raises(
        InputError, match=r"divide the batch.* Received: microbatch_size=3, 8 examples, 1 replica$"
    ):
        learner.train_step(batch)
    specs = {name: tf.TensorSpec([None, *array.shape[1:]], array.dtype) for name, array in batch.items()}
    step = tf.function(learner.train_step, autograph=False)
    with pytest.raises(InputError, match="an unknown number of examples"):
        step.get_concrete_function(specs)
    learner, batch["views"] = make_learner(microbatch_size=4), batch["views"][:, :1]
    with pytest.raises(InputError, match=r"Views must be \[batch, 2, height, width, 3\]"):
        learner.train_step(batch)
