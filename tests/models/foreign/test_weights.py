"""Weights for Keras backbones: from files with and without classifier, from ImageNet; misfits get one line."""

import pathlib
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import backbone_record
from simclr_keras.models.foreign.backbones import stock_model
from simclr_keras.models.foreign.encoder import DEVIATION
from simclr_keras.models.foreign.weights import load_backbone_weights
from simclr_keras.models.zoo import create_model
from tests.models.foreign.small_backbones import short_applications  # noqa: F401  a fixture

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

IMAGES = np.random.default_rng(0).uniform(0, 1, (2, 32, 32, 3)).astype("float32")
PREPROCESSED = keras.applications.mobilenet.preprocess_input(IMAGES * 255)


def create(weights, name="keras:MobileNet", **arguments):
    return create_model(name, image_size=32, num_classes=3, backbone_weights=weights, **arguments)


@pytest.fixture(scope="module")
def network():
    """One network for all files: what a file does not fill would show as zeros."""
    return keras.applications.MobileNet(
        weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3)
    )


@pytest.fixture
def fill(network):
    def fill(weights):
        for variable in network.weights:
            variable.assign(tf.zeros_like(variable))
        load_backbone_weights(network, weights, "keras:MobileNet", None)
        return lambda images: {"pooled": network(PREPROCESSED)}

    return fill


@pytest.fixture
def refused(fill):
    def refused(weights, message):
        with pytest.raises(InputError, match=message) as caught:
            fill(weights)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000

    return refused


@pytest.fixture(scope="module")
def known():
    """MobileNet without and with its classifier, of the same weights, none of which is as in a fresh one."""
    keras.utils.set_random_seed(0)
    top = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), classes=7)
    rng = np.random.default_rng(1)
    for weight in top.weights:
        weight.assign(weight.numpy() + rng.uniform(0, 0.01, weight.shape))
    bare = keras.applications.MobileNet(
        weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3)
    )
    for weight, value in zip(bare.weights, top.weights):
        weight.assign(value)
    return {"bare": bare, "top": top}


@pytest.mark.parametrize("ending", [".weights.h5", ".keras", ".h5"])
@pytest.mark.parametrize("kind", ["bare", "top"])
def test_a_file_fills_the_backbone(known, fill, kind, ending, tmp_path):
    path = tmp_path / f"model{ending}"
    model = known[kind]
    if ending == ".weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    pooled = fill(path)(IMAGES)["pooled"]
    np.testing.assert_allclose(pooled, known["bare"](PREPROCESSED), rtol=1e-4, atol=1e-6)


def test_a_file_of_a_compiled_and_trained_model_fills_the_backbone(known, fill, tmp_path):
    model = keras.models.clone_model(known["bare"])
    model.set_weights(known["bare"].get_weights())
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    for ending in (".keras", ".h5"):
        model.save(tmp_path / f"model{ending}")
        pooled = fill(str(tmp_path / f"model{ending}"))(IMAGES)["pooled"]
        np.testing.assert_allclose(pooled, known["bare"](PREPROCESSED), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ending", [".weights.h5", ".keras", ".h5"])
@pytest.mark.parametrize("other", ["small", "MobileNet050"])
def test_a_file_of_another_network_is_refused(refused, other, ending, tmp_path):
    if other == "small":
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    else:
        model = keras.applications.MobileNet(
            alpha=0.5, weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3)
        )
    path = tmp_path / f"model{ending}"
    if ending == ".weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    refused(path, "does not hold the weights of keras:MobileNet")


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_a_file_of_a_longer_network_that_begins_alike_is_refused(known, refused, ending, tmp_path):
    x = known["bare"].output
    for _ in range(4):
        x = keras.layers.Dense(4)(x)
    longer = keras.Model(known["bare"].input, x)
    path = tmp_path / f"model{ending}"
    (longer.save_weights if ending == ".weights.h5" else longer.save)(path)
    refused(path, "does not hold the weights.*arrays")


def test_a_damaged_file_is_refused(refused, tmp_path):
    for ending in [".weights.h5", ".keras", ".h5"]:
        for content in [b"", b"no weights at all", b"PK\x03\x04 nor a zip file"]:
            path = tmp_path / f"model{ending}"
            path.write_bytes(content)
            refused(path, "does not hold the weights of keras:MobileNet")


def test_a_keras_file_without_weights_is_refused(refused, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    refused(tmp_path / "model.keras", "does not hold the weights")


def test_the_configuration_in_a_keras_file_is_not_read(known, fill, tmp_path):
    known["bare"].save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        weights = archive.read("model.weights.h5")
    with zipfile.ZipFile(tmp_path / "bare.keras", "w") as archive:
        archive.writestr("config.json", "neither JSON nor safe")
        archive.writestr("model.weights.h5", weights)
    pooled = fill(tmp_path / "bare.keras")(IMAGES)["pooled"]
    np.testing.assert_allclose(pooled, known["bare"](PREPROCESSED), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/"), h5py.SoftLink("/layers")])
def test_a_file_that_points_elsewhere_is_refused(known, refused, link, tmp_path):
    path = tmp_path / "model.weights.h5"
    known["bare"].save_weights(path)
    with h5py.File(path, "a") as file:
        file["elsewhere"] = link
    refused(path, "elsewhere is a link")


def test_missing_files_and_other_endings_are_named(refused, tmp_path):
    refused(tmp_path / "none.weights.h5", "no such weights file.*none.weights.h5")
    refused(tmp_path, "ending in .weights.h5, .keras, .h5")
    refused("imagenet21k", "None, 'imagenet' or a file")


def test_a_failed_download_is_one_line(monkeypatch):
    def get_file(*args, **kwargs):
        raise Exception(
            "URL fetch failure on https://example.com:\n None -- Temporary failure in name resolution"
        )

    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", get_file)
    with pytest.raises(
        InputError, match=r"cannot be downloaded \(URL fetch failure.*backbone_weights='imagenet'"
    ) as caught:
        create("imagenet")
    assert "\n" not in str(caught.value)


def test_imagenet_weights_are_those_that_keras_downloads(known, monkeypatch, tmp_path):
    path = tmp_path / "mobilenet_1_0_224_tf_no_top.h5"
    known["bare"].save_weights(tmp_path / "a.weights.h5")
    bare = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(224, 224, 3))
    bare.load_weights(tmp_path / "a.weights.h5")
    bare.save(path)
    asked = []
    monkeypatch.setattr(
        keras.src.utils.file_utils, "get_file", lambda name, *args, **kwargs: asked.append(name) or str(path)
    )
    pooled = create("imagenet")(IMAGES)["pooled"]
    assert asked == [path.name]
    np.testing.assert_allclose(pooled, known["bare"](PREPROCESSED), rtol=1e-4, atol=1e-6)


def test_efficientnets_published_weights_are_read_as_keras_reads_them(monkeypatch, tmp_path):
    """They hold deviations for variances, for which Keras makes up with weights="imagenet", and with a file not."""
    stock = stock_model(backbone_record("keras:EfficientNetB0"), 224)
    stock.get_layer(index=2).adapt_mean.assign([0.485, 0.456, 0.406])
    stock.get_layer(index=2).adapt_variance.assign(DEVIATION)
    path = tmp_path / "efficientnetb0_notop.h5"
    stock.save(path)
    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", lambda *args, **kwargs: str(path))
    theirs = keras.applications.EfficientNetB0(include_top=False, pooling="avg", input_shape=(32, 32, 3))
    expected = theirs(IMAGES * 255)
    for weights in ("imagenet", path):
        pooled = create(weights, "keras:EfficientNetB0")(IMAGES)["pooled"]
        np.testing.assert_allclose(pooled, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_the_dense_layers_and_the_classifier_start_fresh(known, tmp_path):
    known["bare"].save_weights(tmp_path / "model.weights.h5")
    keras.utils.set_random_seed(0)
    filled = create(tmp_path / "model.weights.h5", backbone_trainable=False)
    keras.utils.set_random_seed(0)
    fresh = create(None)
    np.testing.assert_array_equal(filled.encoder.dense1.kernel, fresh.encoder.dense1.kernel)
    assert not any("/base/" in variable.path for variable in filled.trainable_variables)
    assert "backbone_weights" not in str(filled.get_config())
    assert not pathlib.Path(filled.get_config()["name"]).exists()
