"""On replicas a HubLayer trains as by hand, and all replicas have the same statistics and give the same outputs."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import HubLayer
from tests.export.conftest import WEIGHT_DECAY
from tests.export.foreign import Foreign, write_foreign
from tests.export.networks import SIZE, assert_close, images
from tests.export.sgd import step_by_hand

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

COUNT, RATE = 8, 1.0


def shards_of(count):
    """8 images, those of each replica of another brightness, so that their statistics differ."""
    factors = np.repeat(np.linspace(0.3, 1, count), COUNT // count).astype(np.float32)
    return images(COUNT) * factors[:, None, None, None]


def make_model(path, endpoint="encoder", **settings):
    inputs = keras.Input((SIZE, SIZE, 3))
    features = HubLayer(path, endpoint=endpoint, **settings)(inputs)
    dense = keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(0.01))
    model = keras.Model(inputs, dense(features))
    model.compile(keras.optimizers.SGD(RATE), "mse")
    return model


def fit(model, batch):
    model.fit(batch, np.zeros((COUNT, 2)), batch_size=COUNT, shuffle=False, verbose=0)


def copies_of(strategy, variable):
    return [copy.numpy() for copy in strategy.experimental_local_results(variable.value)]


def expected_step(shards):
    """Return the variables after a step that normalizes each shard on its own and averages the statistics."""
    weights, statistics = step_by_hand(shards, rate=RATE, scale=0.01, weight_decay=WEIGHT_DECAY)
    return weights + [np.mean(values, axis=0) for values in zip(*statistics)]


def test_a_fit_is_that_of_the_shards_by_hand(exported, own_collectives):
    count = 2
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
    batch = shards_of(count)
    with strategy.scope():
        model = make_model(exported)
    fit(model, batch)
    layer = model.layers[1]
    for variable, value in zip(layer.weights, expected_step(tf.split(batch, count)), strict=True):
        copies = copies_of(strategy, variable)
        assert len(copies) == count
        assert all(np.array_equal(copies[0], copy) for copy in copies[1:]), variable.path
        assert_close(copies[0], value, 1e-4)
    outputs = strategy.run(lambda: layer(batch))
    first, *others = strategy.experimental_local_results(outputs)
    assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("mirrored", [2], indirect=True)
def test_frozen_nothing_moves_on_any_replica(tmp_path, mirrored):
    write_foreign(tmp_path / "foreign")
    with mirrored.scope():
        model = make_model(tmp_path / "foreign", "features", trainable=False)
    before = [copies_of(mirrored, variable) for variable in model.layers[1].variables]
    fit(model, shards_of(mirrored.num_replicas_in_sync))
    for variable, values in zip(model.layers[1].variables, before):
        np.testing.assert_array_equal(copies_of(mirrored, variable), values, err_msg=variable.path)


def check_file(strategy, path, endpoint, folder):
    """A file saved on replicas loads without them and on them, where it trains on; so does what is served of it."""
    batch = shards_of(strategy.num_replicas_in_sync)
    with strategy.scope():
        model = make_model(path, endpoint)
    fit(model, batch)
    model.save(folder / "model.keras")
    path.rename(folder / "elsewhere")
    expected = model.predict(batch, verbose=0)
    assert_close(keras.models.load_model(folder / "model.keras").predict(batch, verbose=0), expected)
    with strategy.scope():
        again = keras.models.load_model(folder / "model.keras")
    fit(again, batch), fit(model, batch)
    for one, other in zip(again.weights, model.weights, strict=True):
        assert_close(one, other)
    model.export(folder / "served", verbose=False)
    served = tf.saved_model.load(folder / "served")
    assert_close(served.serve(batch), model.predict(batch, verbose=0))


@pytest.mark.parametrize("mirrored", [2], indirect=True)
def test_a_file_saved_on_replicas_loads_without_them_and_on_them(mirrored, tmp_path):
    write_foreign(tmp_path / "foreign", losses=True)
    check_file(mirrored, tmp_path / "foreign", "features", tmp_path)


def test_a_file_with_an_export_of_ours_saved_on_replicas_loads_too(exported, tmp_path):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    check_file(strategy, shutil.copytree(exported, tmp_path / "ours"), "encoder", tmp_path)


def test_statistics_that_were_saved_without_an_aggregation_are_averaged_too(mirrored, tmp_path):
    assert Foreign().mean.aggregation == tf.VariableAggregation.NONE
    write_foreign(tmp_path / "foreign")
    count = mirrored.num_replicas_in_sync
    batch = shards_of(count)
    with mirrored.scope():
        model = make_model(tmp_path / "foreign", endpoint="features")
    fit(model, batch)
    mean = model.layers[1].weights[1]
    expected = np.mean(np.sum(np.mean(batch, (1, 2)), -1))
    np.testing.assert_allclose(copies_of(mirrored, mean), np.full((count, 4), expected), rtol=1e-5)
