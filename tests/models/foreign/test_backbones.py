"""Keras backbones as encoders: they compute what keras.applications does, in every precision."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import BACKBONES, backbone_record
from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.foreign.backbones import stock_model
from simclr_keras.models.foreign.encoder import check_pixel_range, to_pixel_range
from simclr_keras.models.zoo import create_model
from tests.models.foreign.small_backbones import (  # noqa: F401  with the fixture of short networks
    IMAGES,
    SMALL,
    copy_weights,
    create,
    noise,
    settle,
    shaken,
    short_applications,
    special,
)

PREPROCESSING = {
    "MobileNet": "mobilenet",
    "InceptionV3": "inception_v3",
    "ConvNeXtTiny": "convnext",
    "EfficientNetB0": "efficientnet",
}


@pytest.mark.slow
@special  # one of each family: benchmarks/backbone_parity.py
def test_a_backbone_computes_what_keras_does_with_its_own_preprocessing(name):
    size = backbone_record(f"keras:{name}").min_size
    model = create(f"keras:{name}", image_size=size)
    stock = stock_model(model.encoder.record, size)
    shaken(stock.weights)
    for layer in stock.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # or it computes with the values before
    copy_weights(stock, model.encoder.base)
    momenta = [
        [layer.momentum for layer in network.layers if hasattr(layer, "momentum")]
        for network in (stock, model.encoder.base)
    ]
    assert [min(momentum, 0.9) for momentum in momenta[0]] == momenta[1]
    images = noise(2, size, size, 3)
    preprocess = getattr(keras.applications, PREPROCESSING[name]).preprocess_input
    expected = stock(preprocess(images * 255.0))
    pooled = model(images)["pooled"]
    assert np.std(expected) > 1e-5
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet", pytest.param("InceptionV3", marks=pytest.mark.slow)])
def test_moving_statistics_follow_the_batch_as_in_keras(name):
    size = backbone_record(f"keras:{name}").min_size
    model = create(f"keras:{name}", image_size=size)
    stock = stock_model(model.encoder.record, size)
    copy_weights(stock, model.encoder.base)
    for layer in stock.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = 0.9
    images = noise(2, size, size, 3)
    stock(getattr(keras.applications, PREPROCESSING[name]).preprocess_input(images * 255.0), training=True)
    model(images, training=True)
    pairs = zip(statistics(stock), statistics(model.encoder.base))
    # Of the first layers: in the last two pictures leave two values, and rounding decides which is the larger one.
    for theirs, ours in list(pairs)[:4]:
        np.testing.assert_allclose(
            ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max(), err_msg=ours.path
        )


@pytest.mark.slow
def test_our_networks_have_the_momentum_of_the_release():
    model = create_model("r50_0.125x_sk1", image_size=32, se_ratio=0.25)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNormalization)]
    assert len(norms) > 53
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


def statistics(network):
    return [weight for weight in network.non_trainable_weights if "moving_" in weight.path]


def test_preprocessing_is_exact():
    modules = {"caffe": "vgg16", (-1, 1): "mobilenet", "torch": "densenet", (0, 255): "efficientnet"}
    assert {record.pixels for record in BACKBONES.values()} == modules.keys()
    for pixels, module in modules.items():
        expected = getattr(keras.applications, module).preprocess_input(IMAGES * 255.0)
        actual = to_pixel_range(tf.constant(IMAGES), check_pixel_range(pixels))
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_endpoints_are_the_pooled_output_and_what_dense_layers_make_of_it():
    model = create(dense_layers=(16, 8))
    endpoints = model(IMAGES)
    assert list(endpoints) == ["pooled", "final_avg_pool", "proj_head_0", "logits"]
    assert [value.shape[1] for value in endpoints.values()] == [1024, 8, 8, 3]
    dense1, dense2 = model.encoder.dense1, model.encoder.dense2
    hidden = np.maximum(endpoints["pooled"] @ np.asarray(dense1.kernel) + dense1.bias, 0)
    expected = np.maximum(hidden @ np.asarray(dense2.kernel) + dense2.bias, 0)
    np.testing.assert_allclose(endpoints["final_avg_pool"], expected, rtol=1e-4, atol=1e-6)
    shapes = model.encoder.compute_output_shape((4, 32, 32, 3))
    assert all(shapes[name] == endpoints[name].shape for name in shapes)
    bare = create(dense_layers=())(IMAGES)
    np.testing.assert_array_equal(bare["pooled"], bare["final_avg_pool"])


precision_cases = pytest.mark.parametrize(
    "name",
    [
        SMALL,
        *(pytest.param(f"keras:{n}", marks=pytest.mark.slow) for n in ("ConvNeXtTiny", "EfficientNetB0")),
    ],
)


def in_precision(name, dtype):
    """A model in float32, the same one in another precision, and the outputs of both for some images."""
    plain, other = create(name, image_size=64), create(name, image_size=64, dtype=dtype)
    # Coarse pictures, as unlike as photos are: to a fresh network all pictures of fine noise are one.
    images = np.kron(noise(8, 4, 4, 3), np.ones((1, 16, 16, 1))).astype("float32")
    settle(plain, images)
    for theirs, ours in zip(plain.variables, other.variables):
        ours.assign(theirs)
    return plain, other, images


def distance(outputs, expected):
    return np.linalg.norm(tf.cast(outputs, "float32") - expected) / np.linalg.norm(expected)


@pytest.mark.slow
@precision_cases
def test_float64_computes_the_same(name):
    plain, other, images = in_precision(name, "float64")
    assert {weight.dtype for weight in other.weights if "draws" not in weight.path} == {"float64"}
    expected, endpoints = plain(images), other(images.astype("float64"))
    assert {value.dtype for value in endpoints.values()} == {tf.float64}
    for endpoint, value in endpoints.items():
        assert distance(value, expected[endpoint]) < 1e-4


@pytest.mark.slow
@precision_cases
def test_bfloat16_comes_as_near_to_float32_as_in_keras_with_float_outputs_and_weights(name):
    plain, other, images = in_precision(name, "mixed_bfloat16")
    assert {weight.dtype for weight in other.weights if "draws" not in weight.path} == {"float32"}
    expected, endpoints = plain(images), other(images)
    assert {value.dtype for value in endpoints.values()} == {tf.float32}
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        stock = stock_model(plain.encoder.record, 64)
    finally:
        keras.config.set_dtype_policy("float32")
    copy_weights(plain.encoder.base, stock)
    theirs = stock(to_pixel_range(tf.constant(images), plain.encoder.pixel_range))
    error = distance(theirs, expected["pooled"])
    assert 0 < distance(endpoints["pooled"], expected["pooled"]) < 1.3 * error


@pytest.mark.slow
def test_mixed_precision_computes_in_bfloat16_with_our_batch_normalization():
    layers = create(dtype="mixed_bfloat16").encoder.base.layers
    policies = collections.Counter(layer.compute_dtype for layer in layers)
    assert set(policies) == {"bfloat16", "float32"}
    assert policies["bfloat16"] > 80
    kinds = {type(layer) for layer in layers}
    assert BatchNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds


def test_images_below_the_least_size_are_refused():
    for name, size in [("VGG16", 32), ("InceptionV3", 75), ("Xception", 71), ("NASNetMobile", 32)]:
        message = f"image_size={size - 1} is too small for keras:{name}: it must be at least {size}"
        with pytest.raises(InputError, match=message):
            create(f"keras:{name}", image_size=size - 1)


def test_images_of_another_size_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"32 x 32 pixels, as keras:MobileNet.*Received: 48 x 40") as caught:
        create()(np.zeros((1, 48, 40, 3), "float32"))
    assert "\n" not in str(caught.value)


def test_bad_arguments_are_named():
    for name, arguments, message in [
        (SMALL, {"dense_layers": (8, 0)}, r"dense_layers=\(8, 0\)"),
        (SMALL, {"se_ratio": 0.25}, "se_ratio=0.25 is not for keras:"),
        (
            SMALL,
            {"backbone_weights": "preset"},
            "backbone_weights=preset is not for keras:.*imagenet or a file",
        ),
        (SMALL, {"dtype": "float16"}, "dtype='float16'"),
        ("r18_1x_sk0", {"backbone_weights": "imagenet"}, "named keras:NAME.*backbone_weights='imagenet'"),
        ("r18_1x_sk0", {"backbone_trainable": False}, "named keras:NAME.*backbone_trainable=False"),
    ]:
        with pytest.raises(InputError, match=message):
            create(name, **arguments)


def test_other_image_data_formats_are_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(InputError, match="channels_last"):
        create()
