"""ContrastiveLearner on several replicas: the same as one device; several steps a call; resuming; TPU tracing."""

import pytest
import tensorflow as tf

from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.training.engine.loop import make_step_function
from simclr_keras.training.engine.signals import Stop
from tests import tpu_tracing
from tests.objectives.tiny_learner import (
    SOME_LABELED,
    as_dataset,
    assert_close,
    assert_equal,
    make_batches,
    make_learner,
    train,
    values,
)


def two_replicas():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def compare_with_one_device(strategy, batches, *args, **options):
    alone = make_learner(*args, dtype="float64", **options)
    with strategy.scope():
        together = make_learner(*args, dtype="float64", **options)
    assert_close(values(together), values(alone), 0)
    for ours, theirs in zip(train(together, batches, strategy), train(alone, batches)):
        assert_close(ours, theirs, 1e-9)
    assert_close(values(together), values(alone), 1e-9)


def test_replicas_equal_one_device_with_labels_spread_unevenly(mirrored):
    compare_with_one_device(mirrored, make_batches(3, SOME_LABELED))


@pytest.mark.slow
def test_replicas_see_the_views_one_device_would(mirrored):
    augment = ColorBlur(image_size=40, seed=3)  # 40: a blur of 5 taps
    compare_with_one_device(mirrored, make_batches(3), augment=augment)


@pytest.mark.slow
def test_a_resnet_on_two_replicas_equals_one_device():
    compare_with_one_device(two_replicas(), make_batches(3, SOME_LABELED), "r18_0.125x_sk0")


def strategies():
    return {1: tf.distribute.get_strategy, 2: two_replicas}


def iterate(strategy, batches):
    return iter(
        strategy.distribute_datasets_from_function(
            lambda context: as_dataset(batches, strategy.num_replicas_in_sync)
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_several_steps_in_one_call_equal_single_ones(replicas):
    strategy = strategies()[replicas]()
    batches = make_batches(5, SOME_LABELED)
    results = []
    for counts in ([1, 1, 1, 1, 1], [3, 2]):
        with strategy.scope():
            learner = make_learner(dtype="float64", augment=ColorBlur(image_size=40, seed=3))
        take_steps, iterator = make_step_function(learner, strategy, Stop()), iterate(strategy, batches)
        for count in counts:
            take_steps(iterator, count)
        results.append(values(learner))
    assert results[0]["optimizer/iteration"] == 5
    assert_close(results[1], results[0], 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_restored_state_continues_to_the_last_bit(replicas, tmp_path):
    strategy = strategies()[replicas]()
    batches = make_batches(5, SOME_LABELED)

    def fresh():
        with strategy.scope():
            return make_learner(augment=ColorBlur(image_size=40, seed=3))

    uninterrupted = fresh()
    train(uninterrupted, batches[:3], strategy)
    Checkpoints(str(tmp_path), uninterrupted.state(), keep=1).save(3)
    train(uninterrupted, batches[3:], strategy)

    resumed = fresh()
    for variable in resumed.model.variables:
        variable.assign(variable * 2 + 1)  # so that whatever is not restored shows
    assert Checkpoints(str(tmp_path), resumed.state(), keep=1).restore() == 3
    train(resumed, batches[3:], strategy)
    assert_equal(values(resumed), values(uninterrupted))


TPU_CASES = {
    "basic blocks, float32": ("r18_0.125x_sk0", "float32", 8),
    "selective kernels, bfloat16": ("r50_0.125x_sk1", "mixed_bfloat16", 40),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", TPU_CASES.values(), ids=TPU_CASES)
def test_the_whole_step_traces_for_tpus(case):
    name, dtype, size = case
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        # On a TPU the step is compiled as a whole, and nothing in it on its own.
        learner = make_learner(name, image_size=size, dtype=dtype, augment=ColorBlur(size, compile=False))

    def step(views, label, number):
        return learner.train_step({"views": views, "label": label, "id": number})

    rows = tf.TensorSpec([4], tf.int32)
    views = tf.TensorSpec([4, 2, size, size, 3], tf.uint8)
    found = tpu_tracing.findings(tpu_tracing.trace(strategy, step, views, rows, rows))
    assert found.collectives
    assert not found.without_kernel
    assert not found.without_shape
