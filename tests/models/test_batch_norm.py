"""Batch normalization against slow NumPy, fused against unfused, several replicas against one."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.batch_norm import BatchNormalization, use_local_statistics
from tests import tpu_tracing

SHAPES = pytest.mark.parametrize("shape", [(8, 3, 5, 6), (8, 6)], ids=["4-D", "2-D"])
EPSILON = 1e-5


def twin(x, dy, gamma, beta):
    """y, dx, dgamma, dbeta, mean and biased variance, as the paper has them, in float64."""
    x, dy = np.asarray(x, np.float64), np.asarray(dy, np.float64)
    axes = tuple(range(x.ndim - 1))
    rows = np.prod(x.shape[:-1])
    mean = x.mean(axes)
    variance = ((x - mean) ** 2).mean(axes)
    xhat = (x - mean) / np.sqrt(variance + EPSILON)
    dxhat = dy * gamma
    dvariance = (dxhat * (x - mean)).sum(axes) * -0.5 * (variance + EPSILON) ** -1.5
    dmean = -dxhat.sum(axes) / np.sqrt(variance + EPSILON)
    dx = dxhat / np.sqrt(variance + EPSILON) + dvariance * 2 * (x - mean) / rows + dmean / rows
    return gamma * xhat + beta, dx, (dy * xhat).sum(axes), dy.sum(axes), mean, variance


def random_case(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(2, 3, shape) * np.linspace(0.5, 2, shape[-1]) + 5 * rng.normal(
        size=(shape[0],) + (1,) * (len(shape) - 1)
    )
    return x, rng.normal(size=shape), rng.uniform(0.5, 2, shape[-1]), rng.normal(size=shape[-1])


def make_layer(gamma, beta, dtype, **arguments):
    layer = BatchNormalization(dtype=dtype, **arguments)
    layer.build((None, len(gamma)))
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    return layer


def run(layer, x, dy, dtype):
    """One training call on one device: y, dx, dgamma, dbeta."""
    x, dy = tf.cast(x, dtype), tf.cast(dy, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    return y, *tape.gradient(y, [x, layer.gamma.value, layer.beta.value], output_gradients=dy)


def moving(layer):
    """The moving mean and variance, of the first replica."""
    return [layer.moving_mean.numpy(), layer.moving_variance.numpy()]


@SHAPES
@pytest.mark.parametrize(
    ("dtype", "fused", "tolerance"),
    [("float32", None, 2e-5), ("float32", False, 2e-5), ("float64", None, 1e-12)],
)
def test_training_is_the_slow_twin(shape, dtype, fused, tolerance):
    x, dy, gamma, beta = random_case(shape)
    layer = make_layer(gamma, beta, dtype, fused=fused)
    results = run(layer, x, dy, dtype)
    *expected, mean, variance = twin(x, dy, gamma, beta)
    for result, value in zip(results, expected):
        np.testing.assert_allclose(result, value, rtol=tolerance, atol=tolerance * np.abs(value).max())
    np.testing.assert_allclose(moving(layer), [0.1 * mean, 0.9 + 0.1 * variance], rtol=max(tolerance, 1e-12))


@SHAPES
@pytest.mark.parametrize("fused", [None, False])
def test_inference_uses_the_moving_statistics_and_leaves_them(shape, fused):
    x, _, gamma, beta = random_case(shape)
    layer = make_layer(gamma, beta, "float32", fused=fused)
    mean, variance = np.linspace(-1, 1, 6), np.linspace(0.5, 2, 6)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    expected = (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta
    before = moving(layer)
    np.testing.assert_allclose(layer(tf.cast(x, "float32")), expected, rtol=1e-4, atol=1e-5)
    layer.trainable = False
    np.testing.assert_allclose(layer(tf.cast(x, "float32"), training=True), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(moving(layer), before)


@pytest.mark.parametrize("fused", [None, False])
def test_inference_has_gradients(fused):
    """Frozen normalization lets gradients through to the layers before it."""
    x, dy, gamma, beta = random_case((8, 3, 5, 6))
    layer = make_layer(gamma, beta, "float32", fused=fused)
    layer.moving_variance.assign(np.full(6, 4.0))
    x, dy = tf.cast(x, "float32"), tf.cast(dy, "float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=False)
    np.testing.assert_allclose(tape.gradient(y, x, dy), dy * gamma / np.sqrt(4 + EPSILON), rtol=1e-5)


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "xla"])
@pytest.mark.parametrize(("dtype", "fused"), [("float32", None), ("float32", False), ("float64", None)])
def test_variance_survives_a_mean_a_thousand_times_as_large(dtype, fused, compiled):
    x = tf.cast(np.random.default_rng(0).normal(1000, 1, (64, 8, 8, 4)), dtype)
    layer = BatchNormalization(momentum=0, dtype=dtype, fused=fused)
    layer.build(x.shape)
    y = tf.function(lambda: layer(x, training=True), autograph=False, jit_compile=compiled)()
    true = np.var(np.asarray(x, np.float64), axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_variance, true, rtol=0.01)
    np.testing.assert_allclose(np.std(y, axis=(0, 1, 2)), 1, rtol=0.01)


@pytest.mark.parametrize("fused", [None, False])
def test_bfloat16_has_float32_statistics(fused):
    # Steps of 1 are exact in bfloat16 near 200, and a sum of squares there is not.
    x = tf.cast(np.random.default_rng(0).integers(195, 206, (64, 8, 8, 4)), "bfloat16")
    layer = BatchNormalization(momentum=0, dtype="mixed_bfloat16", fused=fused)
    layer.build(x.shape)
    y = layer(x, training=True)
    assert y.dtype == tf.bfloat16
    assert layer.gamma.dtype == layer.moving_mean.dtype == "float32"
    values = np.asarray(tf.cast(x, "float64"))
    np.testing.assert_allclose(layer.moving_mean, values.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, values.var((0, 1, 2)), rtol=1e-4)
    expected = (values - values.mean((0, 1, 2))) / values.std((0, 1, 2))
    assert np.abs(np.asarray(tf.cast(y, "float64")) - expected).max() < 0.01


def test_bfloat16_gradients_agree_between_the_paths():
    x, dy, gamma, beta = random_case((16, 4, 4, 6))
    fused, unfused = (
        run(make_layer(gamma, beta, "mixed_bfloat16", fused=fused), x, dy, "bfloat16")
        for fused in (None, False)
    )
    for first, second in zip(fused, unfused):
        first, second = (np.asarray(tf.cast(value, "float64")) for value in (first, second))
        assert np.abs(first - second).max() < 0.02 * np.abs(second).max()


@pytest.mark.parametrize("fused", [None, False])
def test_a_single_row_is_normalized_to_beta(fused):
    layer = make_layer([2.0], [3.0], "float32", fused=fused)
    y = layer(tf.constant([[7.0]]), training=True)
    np.testing.assert_allclose(y, [[3.0]])
    np.testing.assert_allclose(moving(layer), [[0.7], [0.9]], rtol=1e-6)


def test_center_and_scale_can_be_left_out():
    layer = BatchNormalization(center=False, scale=False)
    layer.build((None, 4))
    assert [variable.path.rpartition("/")[2] for variable in layer.weights] == [
        "moving_mean",
        "moving_variance",
    ]
    x = np.random.default_rng(0).normal(3, 2, (50, 4)).astype("float32")
    y = layer(x, training=True)
    np.testing.assert_allclose(np.mean(y, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(y, 0), 1, rtol=1e-4)


def replicated_run(strategy, layer, x, dy, dtype):
    """One training call on all replicas together; dgamma and dbeta summed, as an optimizer does."""
    replicas = strategy.num_replicas_in_sync
    parts = [np.split(np.asarray(value), replicas) for value in (x, dy)]

    def values_of(part):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.cast(part[context.replica_id_in_sync_group], dtype)
        )

    @tf.function(autograph=False)
    def step(x, dy):
        return strategy.run(lambda x, dy: run(layer, x, dy, dtype), args=(x, dy))

    y, dx, dgamma, dbeta = step(*(values_of(part) for part in parts))
    local = strategy.experimental_local_results
    return tf.concat(local(y), 0), tf.concat(local(dx), 0), sum(local(dgamma)), sum(local(dbeta))


@SHAPES
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 3e-5)])
def test_replicas_together_are_one_device(mirrored, shape, dtype, tolerance):
    x, dy, gamma, beta = random_case(shape)
    with mirrored.scope():
        layer = make_layer(gamma, beta, dtype)
    results = replicated_run(mirrored, layer, x, dy, dtype)
    alone = make_layer(gamma, beta, dtype)
    for result, expected in zip(results, run(alone, x, dy, dtype)):
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    for ours, expected in zip((layer.moving_mean, layer.moving_variance), moving(alone)):
        np.testing.assert_allclose(ours.numpy(), expected, rtol=tolerance, atol=tolerance)
        copies = [copy.numpy() for copy in mirrored.experimental_local_results(ours.value)]
        assert len(copies) == mirrored.num_replicas_in_sync
        for copy in copies:
            np.testing.assert_array_equal(copy, copies[0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_local_statistics_are_those_of_each_replica(mirrored, dtype):
    x, dy, gamma, beta = random_case((8, 3, 5, 6))
    with mirrored.scope():
        layer = make_layer(gamma, beta, dtype)
    network = keras.Sequential([layer])
    use_local_statistics(network)
    results = replicated_run(mirrored, layer, x, dy, dtype)
    replicas = mirrored.num_replicas_in_sync
    parts = zip(*(twin(*part, gamma, beta) for part in zip(np.split(x, replicas), np.split(dy, replicas))))
    y, dx, dgamma, dbeta, mean, variance = (np.stack(part) for part in parts)
    expected = [y.reshape(x.shape), dx.reshape(x.shape), dgamma.sum(0), dbeta.sum(0)]
    tolerance = 1e-9 if dtype == "float64" else 3e-5
    for result, value in zip(results, expected):
        np.testing.assert_allclose(result, value, rtol=tolerance, atol=tolerance * np.abs(value).max())
    for ours, start, statistic in zip((layer.moving_mean, layer.moving_variance), (0, 1), (mean, variance)):
        for copy in mirrored.experimental_local_results(ours.value):
            np.testing.assert_allclose(copy, 0.9 * start + 0.1 * statistic.mean(0), tolerance, tolerance)
    assert BatchNormalization.from_config(layer.get_config()).is_global


@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize(("ratio", "tolerance"), [(1e3, 5e-4), (1e4, 5e-3)])
def test_replicas_are_exact_if_the_mean_is_large(mirrored, fused, ratio, tolerance):
    """A new layer, whose moving mean is 0, against float64: within a few float32 roundings of the means."""
    x = np.random.default_rng(0).normal(ratio, 1, (64, 4, 4, 4)).astype("float32")
    x += np.arange(64).reshape(-1, 1, 1, 1) // 16  # no two replicas have the same mean
    dy = np.random.default_rng(1).normal(size=x.shape)
    with mirrored.scope():
        layer = make_layer(np.ones(4), np.zeros(4), "float32", momentum=0, fused=fused)
    results = replicated_run(mirrored, layer, x, dy, "float32")
    *expected, mean, variance = twin(x, dy, np.ones(4), np.zeros(4))
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=tolerance)
    for result, value in zip(results[:2], expected):
        np.testing.assert_allclose(result, value, rtol=0, atol=tolerance * np.abs(value).max())


def test_bfloat16_replicas_are_one_device(mirrored):
    x, dy, gamma, beta = random_case((8, 4, 4, 6))
    with mirrored.scope():
        layer = make_layer(gamma, beta, "mixed_bfloat16")
    results = replicated_run(mirrored, layer, x, dy, "bfloat16")
    for result, expected in zip(results, run(make_layer(gamma, beta, "mixed_bfloat16"), x, dy, "bfloat16")):
        result, expected = (np.asarray(tf.cast(value, "float64")) for value in (result, expected))
        assert np.abs(result - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-5)])
def test_unequal_shares_count_by_their_rows_and_none_without_rows(mirrored, dtype, tolerance):
    rng = np.random.default_rng(0)
    counts = [*range(mirrored.num_replicas_in_sync + 1, 2, -1), 0]
    x, dy = rng.normal(2, 3, (sum(counts), 4)), rng.normal(size=(sum(counts), 4))
    with mirrored.scope():
        layer = make_layer(np.ones(4), np.zeros(4), dtype, momentum=0)
    ends = np.cumsum(counts)

    def shares_of(values):
        parts = np.split(values, ends[:-1])
        return mirrored.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group], dtype)
        )

    @tf.function(autograph=False, reduce_retracing=True)  # so that the number of rows is not known
    def step(x, dy):
        return mirrored.run(lambda x, dy: run(layer, x, dy, dtype), args=(x, dy))

    y, dx, dgamma, dbeta = (
        mirrored.experimental_local_results(value) for value in step(shares_of(x), shares_of(dy))
    )
    *expected, mean, variance = twin(x, dy, np.ones(4), np.zeros(4))
    results = [tf.concat(y, 0), tf.concat(dx, 0), sum(dgamma), sum(dbeta), *moving(layer)]
    for result, value in zip(results, [*expected, mean, variance]):
        np.testing.assert_allclose(result, value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_local_statistics_count_by_their_rows_and_none_without_rows(mirrored, dtype):
    replicas = mirrored.num_replicas_in_sync
    counts = [*range(replicas + 1, 2, -1), 0]
    x = np.random.default_rng(0).normal(2, 3, (sum(counts), 4))
    parts = np.split(x, np.cumsum(counts)[:-1])
    with mirrored.scope():
        layer = make_layer(np.ones(4), np.zeros(4), dtype, momentum=0)
    layer.is_global = False
    shares = mirrored.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group], dtype)
    )
    step = tf.function(
        lambda x: mirrored.run(lambda x: run(layer, x, tf.ones_like(x), dtype), args=(x,)), autograph=False
    )
    gradients = [mirrored.experimental_local_results(value) for value in step(shares)[2:]]
    assert np.isfinite(gradients).all()
    expected = [[part.mean(0) for part in parts[:-1]], [part.var(0) for part in parts[:-1]]]
    for ours, statistics in zip((layer.moving_mean, layer.moving_variance), expected):
        for copy in mirrored.experimental_local_results(ours.value):
            np.testing.assert_allclose(copy, np.average(statistics, 0, counts[:-1]), rtol=1e-5)


def collective_shapes(replicas, training):
    """Shapes of the collectives in a forward and a backward pass through one layer, traced for TPUs."""
    strategy = tpu_tracing.fake_tpu_strategy(replicas)
    with strategy.scope():
        layer = BatchNormalization()
        layer.build((None, 6))

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(layer(x, training=training) ** 3)
        return tf.reduce_sum(tape.gradient(y, x))

    graph = tpu_tracing.trace(strategy, step, tf.TensorSpec([4, 2, 2, 6], tf.float32))
    found = tpu_tracing.findings(graph)
    assert not found.without_kernel
    assert not found.without_shape
    nodes = [node for node in tpu_tracing.replicated_nodes(graph) if node.op in tpu_tracing.COLLECTIVES]
    assert {node.attr["T"].type for node in nodes} <= {tf.float32.as_datatype_enum}
    return sorted(node.attr["_output_shapes"].list.shape[0].dim[0].size for node in nodes)


def test_one_collective_per_direction_of_a_size_without_replicas():
    channels = 6
    for replicas in (2, 4):
        assert collective_shapes(replicas, training=True) == [2 * channels, 6 * channels + 3]
    assert collective_shapes(2, training=False) == []
    assert collective_shapes(1, training=True) == []


def test_one_replica_in_float32_runs_the_fused_kernel_and_float64_needs_no_collective():
    ops = {}
    for dtype in ("float32", "float64"):
        layer = make_layer(np.ones(6), np.zeros(6), dtype)
        function = tf.function(lambda x, layer=layer: layer(x, training=True), autograph=False)
        graph = function.get_concrete_function(tf.TensorSpec([4, 2, 2, 6], dtype)).graph
        ops[dtype] = collections.Counter(op.type for op in graph.get_operations())
    assert ops["float32"]["FusedBatchNormV3"] == 1
    assert "FusedBatchNormV3" not in ops["float64"]
    assert not [op for op in ops["float64"] if "Collective" in op]


def test_config_round_trip():
    layer = BatchNormalization(
        momentum=0.8, epsilon=1e-3, center=False, gamma_initializer="zeros", fused=False
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.momentum, copy.epsilon, copy.center, copy.fused) == (0.8, 1e-3, False, False)
    copy.build((None, 2))
    np.testing.assert_array_equal(copy.gamma, [0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"momentum": 1.5}, "momentum=1.5"), ({"epsilon": 0}, "epsilon=0"), ({"fused": True}, "fused=True")],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        BatchNormalization(**arguments)
