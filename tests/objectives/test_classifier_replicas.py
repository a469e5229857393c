"""Classifier and Distiller on several replicas: the same as one device; several steps a call; TPU tracing."""

import pytest
import tensorflow as tf

from simclr_keras.data.views.color_blur import ColorBlur
from tests import tpu_tracing
from tests.objectives.tiny_classifier import (
    SOME_LABELED,
    make_batches,
    make_classifier,
    make_distiller,
    make_model,
    make_teacher,
)
from tests.objectives.tiny_learner import assert_close, train, values


def classifier(name=None, *, network=None, dtype="float64", **options):
    model = make_model(name, dtype=dtype, proj_layers=2, head_layer=1, **(network or {}))
    return make_classifier(model, label_smoothing=0.1, **options)


def distiller(name=None, *, network=None, dtype="float64", teacher_dtype="float64", **options):
    model = make_model(name, dtype=dtype, **(network or {}))
    return make_distiller(model, make_teacher(dtype=teacher_dtype), **options)


LEARNERS = {
    "classifier": classifier,
    "distiller of both streams": lambda **options: distiller(alpha=0.3, temperature=0.5, **options),
}
by_learner = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)


def compare_with_one_device(strategy, batches, make):
    alone = make()
    with strategy.scope():
        together = make()
    assert_close(values(together), values(alone), 0)
    for ours, theirs in zip(train(together, batches, strategy), train(alone, batches)):
        assert_close(ours, theirs, 1e-9)
    assert_close(values(together), values(alone), 1e-9)


@by_learner
def test_replicas_equal_one_device_with_labels_spread_unevenly(mirrored, make):
    compare_with_one_device(mirrored, make_batches(3, SOME_LABELED), make)


@pytest.mark.slow
def test_replicas_see_the_colors_one_device_would():
    augment = ColorBlur(image_size=40, seed=3)  # 40: a blur of 5 taps
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    compare_with_one_device(strategy, make_batches(3), lambda: distiller(alpha=0.5, augment=augment))


def found_for_tpus(make, size=8):
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        learner = make()

    def step(views, label, number, labeled_views, labeled_label):
        return learner.train_step(
            {
                "views": views,
                "label": label,
                "id": number,
                "labeled_views": labeled_views,
                "labeled_label": labeled_label,
            }
        )

    def specs(rows):
        return tf.TensorSpec([rows, 1, size, size, 3], tf.uint8), tf.TensorSpec([rows], tf.int32)

    views, label = specs(4)
    found = tpu_tracing.findings(tpu_tracing.trace(strategy, step, views, label, label, *specs(2)))
    assert found.collectives
    assert not found.without_kernel
    assert not found.without_shape


@by_learner
def test_the_tiny_steps_trace_for_tpus(make):
    found_for_tpus(lambda: make(dtype="float32", on_nan="skip_batch"))


@pytest.mark.slow
def test_whole_step_traces_for_tpus():
    # On a TPU the step is compiled as a whole, and nothing in it on its own.
    augment, network = ColorBlur(40, compile=False), {"image_size": 40, "after_block": 2}
    dtypes = {"dtype": "mixed_bfloat16", "teacher_dtype": "mixed_bfloat16"}
    found_for_tpus(
        lambda: distiller("r50_0.125x_sk1", network=network, alpha=0.5, augment=augment, **dtypes), 40
    )
