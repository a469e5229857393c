"""On replicas a HubLayer trains as by hand, and all replicas have the same statistics and give the same outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import HubLayer
from tests.export.small_exports import SIZE, Foreign, images, small_network, write_export, write_foreign

DECAY = 0.1


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas") / "export"
    write_export(folder, weight_decay=DECAY)
    return str(folder)


def shards_of(count):
    """8 images, those of each replica of another brightness, so that their statistics differ."""
    factors = np.repeat(np.linspace(0.3, 1, count), 8 // count).astype(np.float32)
    return images() * factors[:, None, None, None]


def make_model(path, endpoint="encoder", **settings):
    inputs = keras.Input((SIZE, SIZE, 3))
    features = HubLayer(path, endpoint=endpoint, **settings)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="ones")(features))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def fit(model, batch):
    model.fit(batch, np.zeros((8, 2)), batch_size=8, shuffle=False, verbose=0)


def copies_of(strategy, variable):
    return [copy.numpy() for copy in strategy.experimental_local_results(variable.value)]


def step_by_hand(shards):
    """The variables after a step in which each shard is normalized on its own and statistics are averaged."""
    network = small_network()
    weights = [v.value for v in network.trainable_variables]
    kernels = [v.value for v in network.trainable_variables if v.path.endswith("kernel")]
    before = [v.numpy() for v in network.variables]
    gradients, statistics = [], []
    for shard in shards:
        with tf.GradientTape() as tape:
            features = network(shard, training=True)["final_avg_pool"]
            loss = tf.reduce_mean(tf.square(tf.reduce_sum(features, axis=-1)))
            loss += DECAY * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])
        gradients.append(tape.gradient(loss, weights, unconnected_gradients="zero"))
        statistics.append([v.numpy() for v in network.non_trainable_variables])
        for variable, value in zip(network.variables, before):
            variable.assign(value)
    stepped = [w.numpy() - 0.1 * np.mean(g, axis=0) for w, g in zip(weights, zip(*gradients))]
    return stepped + [np.mean(values, axis=0) for values in zip(*statistics)]


def test_a_fit_is_that_of_the_shards_by_hand_and_equal_on_all_replicas(path, mirrored):
    count = mirrored.num_replicas_in_sync
    batch = shards_of(count)
    with mirrored.scope():
        model = make_model(path)
    fit(model, batch)
    layer = model.layers[1]
    for variable, value in zip(layer.weights, step_by_hand(tf.split(batch, count)), strict=True):
        copies = copies_of(mirrored, variable)
        assert len(copies) == count
        assert all(np.array_equal(copies[0], copy) for copy in copies[1:]), variable.path
        np.testing.assert_allclose(copies[0], value, rtol=1e-4, atol=1e-5, err_msg=variable.path)
    outputs = mirrored.run(lambda: layer(images()))
    first, *others = mirrored.experimental_local_results(outputs)
    assert all(np.array_equal(first, other) for other in others)


def test_frozen_nothing_moves_on_any_replica(path, mirrored):
    with mirrored.scope():
        model = make_model(path, trainable=False)
    before = [copies_of(mirrored, variable) for variable in model.layers[1].variables]
    fit(model, shards_of(mirrored.num_replicas_in_sync))
    for variable, values in zip(model.layers[1].variables, before):
        np.testing.assert_array_equal(copies_of(mirrored, variable), values, err_msg=variable.path)


def test_a_file_saved_on_replicas_loads_without_them_and_on_them(path, mirrored, tmp_path):
    batch = shards_of(mirrored.num_replicas_in_sync)
    with mirrored.scope():
        model = make_model(path)
    fit(model, batch)
    model.save(tmp_path / "model.keras")
    expected = model.predict(batch, verbose=0)
    alone = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(alone.predict(batch, verbose=0), expected, rtol=1e-5, atol=1e-6)
    with mirrored.scope():
        again = keras.models.load_model(tmp_path / "model.keras")
    fit(again, batch), fit(model, batch)
    for one, other in zip(again.weights, model.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=one.path)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(batch), model.predict(batch, verbose=0), rtol=1e-5, atol=1e-6)


def test_statistics_that_were_saved_without_an_aggregation_are_averaged_too(mirrored, tmp_path):
    assert Foreign().mean.aggregation == tf.VariableAggregation.NONE
    write_foreign(tmp_path / "foreign")
    count = mirrored.num_replicas_in_sync
    batch = shards_of(count)
    with mirrored.scope():
        model = make_model(tmp_path / "foreign", endpoint="features")
    fit(model, batch)
    mean = model.layers[1].weights[1]
    expected = tf.reduce_mean(tf.reduce_sum(tf.reduce_mean(batch, [1, 2]), axis=-1))
    np.testing.assert_allclose(copies_of(mirrored, mean), np.full((count, 4), expected), rtol=1e-5)
