"""The TPU tracing helper itself: what it must find, and what it must not."""

import tensorflow as tf

from tests import tpu_tracing

SPEC = tf.TensorSpec([4, 8, 8, 3], tf.float32)


def findings(step):
    strategy = tpu_tracing.fake_tpu_strategy()
    return tpu_tracing.findings(tpu_tracing.trace(strategy, step, SPEC))


def test_ops_that_xla_compiles_are_not_reported():
    def step(images):
        total = tf.distribute.get_replica_context().all_reduce("sum", tf.reduce_mean(images))
        return tf.reduce_sum(tf.image.resize(images, [4, 4], "bilinear")) + total

    found = findings(step)
    assert not found.without_kernel
    assert not found.without_shape
    assert found.collectives == {"CrossReplicaSum": 1}


def test_an_op_without_xla_kernel_is_reported():
    found = findings(lambda images: tf.reduce_sum(tf.image.resize(images, [4, 4], "bicubic")))
    assert found.without_kernel == {"ResizeBicubic": 1}


def test_a_call_to_the_host_is_reported():
    def step(images):
        tf.print("on the host")
        return tf.py_function(tf.reduce_sum, [images], tf.float32)

    assert {"PrintV2", "EagerPyFunc"} <= findings(step).without_kernel.keys()


def test_a_collective_of_64_bits_is_reported():
    def step(images):
        total = tf.reduce_sum(tf.cast(images, tf.float64))
        return tf.distribute.get_replica_context().all_reduce("sum", total)

    assert findings(step).wide_collectives == {"float64": 1}


def test_a_shape_that_depends_on_values_is_reported():
    found = findings(lambda images: tf.reduce_sum(tf.boolean_mask(images, images[:, 0, 0, 0] > 0.5)))
    assert found.without_shape
