"""ContrastiveLearner on two replicas: several steps in a call, and resuming."""

import pytest
import tensorflow as tf

from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.training.engine.loop import make_step_function
from simclr_keras.training.engine.signals import Stop
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
