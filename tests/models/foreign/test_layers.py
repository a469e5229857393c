"""Dropout and standardization of Keras models as encoders, and the names of their layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.models.foreign.layers import Dropout, Standardize, adopt, stable_names
from tests import tpu_tracing

ROWS = np.ones((4096, 2, 2, 3), "float32")


def stochastic_depth(rate=0.25, noise_shape=(None, 1, 1, 1)):
    keras.utils.set_random_seed(3)
    layer = Dropout(rate, noise_shape, name="drop")
    layer.build((None, 2, 2, 3))
    return layer


def kept(outputs):
    """Which rows are not dropped; a row is as a whole or not at all."""
    outputs = np.asarray(outputs)
    rows = outputs.reshape(len(outputs), -1)
    assert (rows.min(1) == rows.max(1)).all()
    return rows[:, 0] > 0


def test_a_share_of_the_rows_is_dropped_and_the_mean_stays():
    outputs = stochastic_depth()(ROWS, training=True)
    assert kept(outputs).mean() == pytest.approx(0.75, abs=0.03)
    assert set(np.unique(outputs)) == {0, np.float32(1 / 0.75)}


def test_nothing_is_dropped_in_inference_or_when_frozen():
    layer = stochastic_depth()
    np.testing.assert_array_equal(layer(ROWS), ROWS)
    layer.trainable = False
    np.testing.assert_array_equal(layer(ROWS, training=True), ROWS)
    np.testing.assert_array_equal(layer.draws, stochastic_depth().draws)


def test_draws_are_a_function_of_a_variable_that_counts_calls():
    layer, other = stochastic_depth(), stochastic_depth()
    first, second = kept(layer(ROWS, training=True)), kept(layer(ROWS, training=True))
    assert (first != second).any()
    other.draws.assign(layer.draws - [0, 1])
    np.testing.assert_array_equal(kept(other(ROWS, training=True)), second)
    keras.utils.set_random_seed(4)
    another = Dropout(0.25, (None, 1, 1, 1))
    assert (kept(another(ROWS, training=True)) != first).any()


def test_replicas_drop_what_one_device_drops(mirrored):
    replicas = mirrored.num_replicas_in_sync
    with mirrored.scope():
        layer = stochastic_depth()
    part = ROWS[: len(ROWS) // replicas]
    run = tf.function(lambda: mirrored.run(lambda: layer(part, training=True)), autograph=False)
    alone = stochastic_depth()
    for _ in range(2):
        together = np.concatenate([kept(x) for x in mirrored.experimental_local_results(run())])
        np.testing.assert_array_equal(together, kept(alone(ROWS, training=True)))
    assert [int(copy[1]) for copy in mirrored.experimental_local_results(layer.draws.value)] == [2] * replicas


def test_it_traces_for_tpus():
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        layer = stochastic_depth()
    spec = tf.TensorSpec([4, 2, 2, 3], tf.float32)
    found = tpu_tracing.findings(tpu_tracing.trace(strategy, lambda x: layer(x, training=True), spec))
    assert not found.without_kernel
    assert not found.without_shape


def test_standardize_reads_its_variables_at_every_call():
    layer = Standardize()
    images = np.random.default_rng(0).uniform(0, 1, (2, 4, 4, 3)).astype("float32")
    np.testing.assert_array_equal(layer(images), images)
    layer.adapt_mean.assign([0.1, 0.2, 0.3])
    layer.adapt_variance.assign([4.0, 0.25, 1.0])
    np.testing.assert_allclose(layer(images), (images - [0.1, 0.2, 0.3]) / [2, 0.5, 1], rtol=1e-5)


def test_single_elements_and_channels_are_dropped():
    elements = np.asarray(stochastic_depth(noise_shape=None)(ROWS, training=True))
    assert (elements == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert np.any(elements.min(axis=(1, 2, 3)) != elements.max(axis=(1, 2, 3)))
    channels = np.asarray(stochastic_depth(noise_shape=(None, 1, 1, None))(ROWS, training=True))
    np.testing.assert_array_equal(channels, np.broadcast_to(channels[:, :1, :1], channels.shape))
    assert (channels.min(axis=(1, 2, 3)) != channels.max(axis=(1, 2, 3))).any()


def test_config_round_trip():
    for layer in [Dropout(0.25, (None, 1, 1, 1), seed=1, name="drop"), Standardize(name="standardize")]:
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert copy.get_config() == layer.get_config()


def stock():
    inputs = x = keras.Input((8, 8, 3))
    for _ in range(2):
        x = keras.layers.Conv2D(4, 3)(x)
        x = keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, scale=False)(x)
    x = keras.Sequential([keras.layers.Conv2D(4, 1), keras.layers.Dropout(0.2)], name="nested")(x)
    x = keras.layers.Conv2D(4, 1, name="last_1")(x) + 1
    return keras.Model(inputs, x)


def test_numbered_names_start_anew_and_given_ones_stay():
    for _ in range(2):
        model = stock()
        layers = [layer for layer in [*model.layers, *model.get_layer("nested").layers] if layer.weights]
        names = stable_names(model)
        assert [names[id(layer)] for layer in layers] == [
            "conv2d",
            "batch_normalization",
            "conv2d_1",
            "batch_normalization_1",
            "nested",
            "last_1",
            "conv2d_2",
        ]


class Scale(keras.layers.Layer):
    """A factor without a name, as in Keras's ConvNeXt."""

    def build(self, input_shape):
        self.gamma = self.add_weight((input_shape[-1],))

    def call(self, inputs):
        return inputs * self.gamma


def test_adopting_names_variables_and_keeps_dropout_that_is_the_same_for_all_examples():
    dropout = [keras.layers.Dropout(0.5, noise_shape) for noise_shape in ((1, None), (None, 1))]
    network = keras.Sequential([keras.Input((3,)), Scale(), *dropout])
    adopt(network, "base")
    (gamma,) = network.trainable_variables
    # AdamW finds what does not decay by the name, LARS by the path.
    assert (gamma.name, gamma.path) == ("gamma", "base/scale/gamma")
    assert [type(layer) for layer in dropout] == [keras.layers.Dropout, Dropout]
