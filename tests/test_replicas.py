"""Sums over replicas: how precise they are, and how many collectives they take. Averages, also weighted."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.replicas import Average, global_mean, split_in_three, sum_over_replicas


@pytest.mark.parametrize(("replicas", "error"), [(2, 2**-43), (32, 2**-39), (512, 2**-36)])
def test_sum_of_three_floats_is_precise(replicas, error):
    """Added up in float32 one after the other, as in a ring, on both sides of a power of two; then of equal values."""
    values = np.random.default_rng(0).uniform(0.75, 1.5, (2, replicas, 500)) * 1e6
    values[1] = values[1, :1]
    parts = np.stack([split_in_three(tf.constant(values[:, row]), replicas) for row in range(replicas)])
    assert parts.dtype == np.float32
    total = np.zeros(parts.shape[1:], np.float32)
    for part in parts:
        total += part
    np.testing.assert_allclose(total.astype(np.float64).sum(0), values.sum(1), rtol=error)


def test_sums_take_one_collective_per_type(mirrored):
    replicas = mirrored.num_replicas_in_sync

    def step():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group + 1
        values = [tf.cast(number, dtype) for dtype in ("float32", "float64", "float32")]
        return sum_over_replicas([values[0], None, values[1], [[values[2], 2 * values[2]]]])

    function = tf.function(lambda: mirrored.run(step)).get_concrete_function()
    ops = collections.Counter(op.type for op in function.graph.get_operations())
    assert {count for name, count in ops.items() if name.startswith("Collective")} == {2 * replicas}
    total = replicas * (replicas + 1) // 2
    first, none, second, third = function()
    assert none is None
    for copies, expected in ((first, total), (second, total), (third, [[total, 2 * total]])):
        for copy in mirrored.experimental_local_results(copies):
            np.testing.assert_array_equal(copy, expected)
    assert [first.values[0].dtype, second.values[0].dtype] == [tf.float32, tf.float64]


WEIGHTS = {
    "even": [1.0, 1, 1, 1, 1, 1, 1, 1],
    "all on the first replica": [1.0, 0, 1, 0, 0, 0, 0, 0],
    "fractions": [0.2, 0, 0, 0, 0, 0.1, 0.1, 0],
    "none": [0.0] * 8,
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_global_mean_is_the_weighted_mean_of_all_replicas(mirrored, weights):
    values = np.random.default_rng(0).normal(size=8)
    rows = 8 // mirrored.num_replicas_in_sync

    def of_replica(array):
        return mirrored.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[context.replica_id_in_sync_group * rows :][:rows])
        )

    args = (of_replica(values), of_replica(np.array(weights)))
    run = tf.function(lambda *args: mirrored.run(global_mean, args=args))
    # The learner divides each replica's part by their number, and optimizers sum.
    actual = sum(mirrored.experimental_local_results(run(*args))) / mirrored.num_replicas_in_sync
    expected = np.average(values, weights=weights) if any(weights) else 0.0
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    np.testing.assert_allclose(global_mean(tf.constant(values), tf.constant(weights, tf.float64)), expected)


def test_an_average_is_the_sum_over_the_weight():
    average = Average("loss", "float64")
    average.add(3.0, 2.0)
    average.add(1.0, 6.0)
    assert float(average.result()) == 0.5
    average.reset_state()
    assert float(average.result()) == 0.0
