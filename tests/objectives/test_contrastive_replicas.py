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


def compare_with_one_device(strategy, batches, **options):
    alone = make_learner(dtype="float64", **options)
    with strategy.scope():
        together = make_learner(dtype="float64", **options)
    assert_close(values(together), values(alone), 0)
    for ours, theirs in zip(train(together, batches, strategy), train(alone, batches)):
        assert_close(ours, theirs, 1e-9)
    assert_close(values(together), values(alone), 1e-9)


def test_replicas_equal_one_device_with_labels_spread_unevenly(mirrored):
    compare_with_one_device(mirrored, make_batches(3, SOME_LABELED))


@pytest.mark.slow
def test_replicas_see_the_views_one_device_would():
    # 40: a blur of 5 taps. By XLA: plain kernels round otherwise for other numbers of images, on some processors.
    augment = ColorBlur(image_size=40, seed=3)
    compare_with_one_device(two_replicas(), make_batches(3), augment=augment)


def iterate(strategy, batches):
    return iter(
        strategy.distribute_datasets_from_function(
            lambda context: as_dataset(batches, strategy.num_replicas_in_sync)
        )
    )


@pytest.mark.slow
def test_several_steps_in_one_call_equal_single_ones():
    strategy = two_replicas()
    batches = make_batches(5, SOME_LABELED)
    results = []
    for counts in ([1, 1, 1, 1, 1], [3, 2]):
        with strategy.scope():  # colors by XLA: plain kernels may be fused otherwise in a loop
            learner = make_learner(dtype="float64", augment=ColorBlur(image_size=40, seed=3))
        take_steps, iterator = make_step_function(learner, strategy, Stop()), iterate(strategy, batches)
        for count in counts:
            take_steps(iterator, count)
        results.append(values(learner))
    assert results[0]["optimizer/iteration"] == 5
    assert_close(results[1], results[0], 1e-12)


@pytest.mark.slow
def test_restored_state_continues_to_the_last_bit(tmp_path):
    strategy = two_replicas()
    batches = make_batches(5, SOME_LABELED)

    def fresh():
        with strategy.scope():
            return make_learner(augment=ColorBlur(image_size=40, seed=3, compile=False))

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype", "size", "on_nan"),
    [("r18_0.125x_sk0", "float32", 8, "skip_batch"), ("r50_0.125x_sk1", "mixed_bfloat16", 40, "stop")],
)
def test_whole_step_traces_for_tpus(name, dtype, size, on_nan):
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        # On a TPU the step is compiled as a whole, and nothing in it on its own.
        augment = ColorBlur(size, compile=False)
        learner = make_learner(name, image_size=size, dtype=dtype, augment=augment, on_nan=on_nan)

    def step(views, label, number):
        return learner.train_step({"views": views, "label": label, "id": number})

    rows = tf.TensorSpec([4], tf.int32)
    views = tf.TensorSpec([4, 2, size, size, 3], tf.uint8)
    graph = tpu_tracing.trace(strategy, step, views, rows, rows)
    found = tpu_tracing.findings(graph)
    is_guarded = any(node.op == "IsFinite" for node in tpu_tracing.replicated_nodes(graph))
    assert is_guarded == (on_nan == "skip_batch")
    assert found.collectives
    assert not found.without_kernel
    assert not found.without_shape
