"""Any Keras model as an encoder: it trains exactly, resumes, saves, and refuses what is no encoder."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.export.card import make_card
from simclr_keras.export.remove_unused_layers import remove_unused_layers
from simclr_keras.models.batch_norm import BatchNormalization, use_local_statistics
from simclr_keras.models.foreign.encoder import to_pixel_range
from simclr_keras.models.freezing import freeze
from simclr_keras.models.simclr import SimCLRModel, is_foreign
from simclr_keras.runs.checkpoints import Checkpoints
from tests import tpu_tracing
from tests.models.foreign.networks import Subclassed, WithoutBatchNorm, make_network
from tests.objectives.tiny_learner import (
    assert_close,
    assert_equal,
    make_batches,
    make_learner,
    make_step,
    train,
    values,
)

IMAGES = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 3)).astype("float32")


def make_model(network=None, **options):
    keras.utils.set_random_seed(0)
    model = SimCLRModel(network or make_network(), **{"proj_dim": 8, "num_classes": 3} | options)
    model.build((None, 8, 8, 3))
    return model


def in_float64(network):
    def encoder(dtype):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(dtype)
        try:
            return network()
        finally:
            keras.config.set_dtype_policy(before)

    return encoder


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [make_network, *(pytest.param(c, marks=pytest.mark.slow) for c in (Subclassed, WithoutBatchNorm))],
)
def test_contrastive_training_lowers_the_loss_and_resumes_bitwise(network, tmp_path):
    learner, other = (
        make_learner(encoder=lambda dtype: network(), optimizer=keras.optimizers.Adam(0.02)) for _ in range(2)
    )
    batch = make_batches(1)[0]
    step = make_step(learner)
    losses = []
    for i in range(30):
        if i == 25:
            Checkpoints(str(tmp_path), learner.state(), keep=1).save(i)
        learner.reset_metrics()
        step(batch)
        losses.append(float(learner.get_metrics_result()["contrastive_loss"]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    # The layers of the second one have other numbers in their names, not in the checkpoint.
    assert Checkpoints(str(tmp_path), other.state(), keep=1).restore() == 25
    resumed = make_step(other)
    for _ in range(5):
        other.reset_metrics()
        resumed(batch)
    assert_equal(values(other), values(learner))


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [2], indirect=True)
def test_replicas_equal_one_device(mirrored):
    """Batch statistics and dropout, of both networks."""
    options = {"encoder": in_float64(make_network), "dtype": "float64", "memory_size": 32}
    batches = make_batches(2)
    with mirrored.scope():
        together = make_learner(**options)
    alone = make_learner(**options)
    for ours, theirs in zip(train(together, batches, mirrored), train(alone, batches)):
        assert_close(ours, theirs, 1e-9)
    assert_close(values(together), values(alone), 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [2], indirect=True)
def test_micro_batches_and_other_random_layers_work_on_replicas(mirrored):
    def network():
        return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GaussianNoise(0.1), make_network()])

    with mirrored.scope():
        learner = make_learner(encoder=lambda dtype: network(), microbatch_size=4)
    assert np.isfinite(train(learner, make_batches(1), mirrored)[0]["contrastive_loss"])


def test_a_step_traces_for_tpus():
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        model = make_model()
    spec = tf.TensorSpec([2, 8, 8, 3], tf.float32)
    graph = tpu_tracing.trace(strategy, lambda images: model(images, training=True)["logits"], spec)
    findings = tpu_tracing.findings(graph)
    assert not findings.without_kernel
    assert not findings.without_shape
    assert findings.collectives


def test_the_model_is_used_in_place_and_its_normalization_becomes_ours():
    network = make_network()
    model = make_model(network)
    assert model.encoder.base is network
    norms = [layer for layer in network._flatten_layers() if "Normalization" in type(layer).__name__]
    assert [(type(norm), norm.momentum, norm.epsilon) for norm in norms] == [
        (BatchNormalization, 0.9, 1e-3)
    ] * 2
    use_local_statistics(model)
    assert not any(norm.is_global for norm in norms)
    paths = [variable.path for variable in model.encoder.variables]
    assert "simclr/encoder/base/batch_normalization/moving_mean" in paths
    assert "simclr/encoder/base/sequential/conv2d_1/kernel" in paths
    assert len(set(paths)) == len(paths)
    assert paths == [variable.path for variable in make_model().encoder.variables]


def test_batch_normalization_computes_what_keras_does():
    network, model = make_network(), None
    network.set_weights([np.random.default_rng(1).uniform(0.5, 1, w.shape) for w in network.weights])
    expected = network(IMAGES).numpy()
    model = make_model(network)
    np.testing.assert_allclose(model(IMAGES)["final_avg_pool"], expected, rtol=1e-5)


@pytest.mark.parametrize("network", [make_network, Subclassed])
def test_freezing(network):
    model = make_model(network())
    freeze(model, 4)
    assert {variable.path.split("/")[1] for variable in model.trainable_variables} == {
        "projection_head",
        "classifier",
    }
    before = {variable.path: variable.numpy() for variable in model.encoder.variables}
    first, second = (model(IMAGES, training=training)["final_avg_pool"] for training in (True, False))
    np.testing.assert_array_equal(first, second)
    for variable in model.encoder.variables:
        np.testing.assert_array_equal(variable.numpy(), before[variable.path])


def test_files_and_smaller_models_give_the_same_features(tmp_path):
    model = make_model(pixel_range=(-1, 1))
    model(IMAGES, training=True)
    model.save(tmp_path / "model.keras")
    smaller = remove_unused_layers(model, ("encoder",), "the network")
    for other in (keras.saving.load_model(tmp_path / "model.keras"), smaller):
        np.testing.assert_array_equal(other(IMAGES)["final_avg_pool"], model(IMAGES)["final_avg_pool"])
        assert other.encoder.pixel_range == [-1, 1]
    assert smaller.projection_head.depth == 0


def test_pixels_are_brought_to_the_range_of_the_encoder():
    def identity():
        inputs = keras.Input((8, 8, 3))
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))

    plain = make_model(identity())(IMAGES)["final_avg_pool"]
    for pixel_range, expected in [((0, 255), plain * 255), ((-1, 1), plain * 2 - 1)]:
        model = make_model(identity(), pixel_range=pixel_range)
        np.testing.assert_allclose(model(IMAGES)["final_avg_pool"], expected, rtol=1e-5, atol=1e-5)
    per_channel = to_pixel_range(tf.constant(IMAGES), [[0, 1, 2], 3])
    np.testing.assert_allclose(per_channel, IMAGES * [3, 2, 1] + [0, 1, 2], rtol=1e-6)


def test_the_card_states_the_range():
    keys = "image_size antialias class_names stage run checkpoint step results training history ancestors license"
    about = {**dict.fromkeys(keys.split()), "image_size": 8, "architecture": {"name": "mine"}}
    card = make_card(make_model(pixel_range=(0, 255)), about, {}, [])
    assert card["preprocessing"]["range"] == [0, 1]
    assert card["preprocessing"]["encoder_range"] == [0, 255]


def test_a_model_that_returns_features_is_no_encoder_of_endpoints_yet():
    class OfFeatures(Subclassed):
        def compute_output_shape(self, input_shape):
            return (input_shape[0], 4)

    class OfEndpoints(Subclassed):
        def compute_output_shape(self, input_shape):
            return {"final_avg_pool": (input_shape[0], 4)}

    assert [is_foreign(kind()) for kind in (Subclassed, OfFeatures, OfEndpoints)] == [True, True, False]


def two_inputs():
    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([first, second], keras.layers.GlobalAveragePooling2D()(first + second))


def two_outputs():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, [x, x * 2])


def sequential(*layers, channels=3):
    return keras.Sequential([keras.Input((8, 8, channels)), *layers])


CONV, FLATTEN = keras.layers.Conv2D, keras.layers.Flatten


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (two_inputs, {}, r"one input, square images \[n, h, h, 3\].*\(None, 8, 8, 3\), \(None, 8, 8, 3\)"),
        (two_outputs, {}, r"one output, features \[n, d\]"),
        (lambda: sequential(CONV(4, 3)), {}, r"GlobalAveragePooling2D.*\(None, 6, 6, 4\)"),
        (lambda: sequential(FLATTEN(), channels=1), {}, r"square images.*\(None, 8, 8, 1\)"),
        (lambda: sequential(FLATTEN()), {"pixel_range": (0, 0)}, r"\(0, 255\).*pixel_range=\(0, 0\)"),
        (lambda: sequential(FLATTEN()), {"pixel_range": "tf"}, "pixel_range='tf'"),
        (lambda: sequential(FLATTEN()), {"pixel_range": (0, [1, 1, 0])}, r"pixel_range=\(0, \[1, 1, 0\]\)"),
        (
            lambda: sequential(keras.layers.BatchNormalization(axis=1), FLATTEN()),
            {},
            "'batch_normalization.*last axis.*axis=1",
        ),
    ],
)
def test_what_is_no_encoder_is_refused(network, options, message):
    with pytest.raises(InputError, match=message) as caught:
        make_model(network(), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_images_of_another_size_and_a_range_for_a_resnet_are_refused():
    with pytest.raises(InputError, match=r"8 x 8 pixels, as the model .*Received: 9 x 8"):
        make_model()(np.zeros((1, 9, 8, 3), "float32"))
    with pytest.raises(InputError, match=r"pixel_range=\(0, 255\) with a ForeignEncoder"):
        SimCLRModel(make_model().encoder, pixel_range=(0, 255))
