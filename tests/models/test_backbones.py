"""Keras backbones as encoders: they compute what keras.applications does, train, freeze, and come back from files."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.backbone_layers import StochasticDepth
from simclr_keras.models.backbone_names import BACKBONES, backbone_record
from simclr_keras.models.backbone_weights import copy
from simclr_keras.models.backbones import preprocessed, stock_model
from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.freezing import freeze
from simclr_keras.models.zoo import create_model

SMALL = "keras:MobileNet"
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 1, (4, 32, 32, 3)).astype("float32")
LABELS = np.array([0, 1, 2, 0])
# The smallest network of every family, with the module of its preprocessing.
FAMILIES = {
    "VGG16": "vgg16",
    "VGG19": "vgg19",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "NASNetMobile": "nasnet",
    "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2",
    "Xception": "xception",
    "DenseNet121": "densenet",
    "EfficientNetB0": "efficientnet",
    "EfficientNetV2B0": "efficientnet_v2",
    "EfficientNetV2S": "efficientnet_v2",
    "ConvNeXtTiny": "convnext",
}
FAST = ("MobileNet",)
families = pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)


def create(name=SMALL, **arguments):
    keras.utils.set_random_seed(0)
    return create_model(name, **{"num_classes": 3, "image_size": 32, "dense_layers": (16,)} | arguments)


def shaken(weights):
    """Gives moving statistics and offsets other values than those of the start, but tame ones."""
    rng = np.random.default_rng(1)
    for weight in weights:
        if "float" in str(weight.dtype):
            weight.assign(
                weight.numpy() * rng.uniform(0.95, 1.05, weight.shape) + rng.uniform(0, 1e-3, weight.shape)
            )


def settle(model, images):
    """Makes the moving statistics those of these images: without, signals die out in a fresh network."""
    norms = [layer for layer in model.encoder.base.layers if isinstance(layer, BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)
    for norm in norms:
        norm.momentum = 0.9


def assert_same_outputs(first, second):
    first, second = first(IMAGES), second(IMAGES)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def loss_of(model, images, labels):
    logits = model(images, training=True)["logits"]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(losses) / tf.distribute.get_strategy().num_replicas_in_sync


def train(model, steps=1):
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = loss_of(model, IMAGES, LABELS)
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))


def values(layer):
    return {variable.path: variable.numpy() for variable in layer.variables}


@families
def test_a_backbone_computes_what_keras_does_with_its_own_preprocessing(name):
    size = backbone_record(f"keras:{name}").min_size
    model = create(f"keras:{name}", image_size=size)
    stock = stock_model(model.encoder.record, size)
    shaken(stock.weights)
    copy(stock, model.encoder.base)
    images = RNG.uniform(0, 1, (2, size, size, 3)).astype("float32")
    preprocess = getattr(keras.applications, FAMILIES[name]).preprocess_input
    expected = stock(preprocess(images * 255.0))
    pooled = model(images)["pooled"]
    assert np.std(expected) > 1e-5
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    # The moving statistics are those of Keras, too.
    stock(preprocess(images * 255.0), training=True)
    model(images, training=True)
    pairs = zip(stock.non_trainable_weights, model.encoder.base.non_trainable_weights)
    if not any(isinstance(layer, StochasticDepth) for layer in model.encoder.base.layers):
        for theirs, ours in pairs:
            np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3 * (1e-9 + np.abs(theirs).max()))
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths)
    assert all(
        path.startswith(("simclr/encoder/base/", "simclr/encoder/dense1/", "simclr/classifier/"))
        for path in paths
    )


@families
def test_names_do_not_depend_on_what_was_built_before(name):
    size = backbone_record(f"keras:{name}").min_size
    first, second = (create(f"keras:{name}", image_size=size) for _ in range(2))
    assert [variable.path for variable in first.variables] == [variable.path for variable in second.variables]
    numbered = [path for path in values(first) if "/conv2d" in path or "/batch_normalization" in path]
    if numbered:
        assert any("/conv2d/" in path for path in numbered)


@pytest.mark.parametrize("pixels", sorted({record.pixels for record in BACKBONES.values()}))
def test_preprocessing_is_exact(pixels):
    module = {"caffe": "vgg16", "tf": "mobilenet", "torch": "densenet", "inside": "efficientnet"}[pixels]
    expected = getattr(keras.applications, module).preprocess_input(IMAGES * 255.0)
    np.testing.assert_allclose(preprocessed(tf.constant(IMAGES), pixels), expected, rtol=1e-4, atol=1e-4)


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


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
@pytest.mark.parametrize(
    "name",
    [
        SMALL,
        *(
            pytest.param(f"keras:{name}", marks=pytest.mark.slow)
            for name in ("ConvNeXtTiny", "EfficientNetB0")
        ),
    ],
)
def test_other_precisions_compute_the_same_with_float_outputs_and_weights(name, dtype):
    plain, other = create(name, image_size=64), create(name, image_size=64, dtype=dtype)
    images = RNG.uniform(0, 1, (8, 64, 64, 3)).astype("float32")
    settle(plain, images)
    for theirs, ours in zip(plain.variables, other.variables):
        ours.assign(theirs)
    variable_dtype = "float64" if dtype == "float64" else "float32"
    assert {variable.dtype for variable in other.weights if "draws" not in variable.path} == {variable_dtype}
    expected, endpoints = plain(images), other(images.astype(variable_dtype))
    tolerance = 1e-4 if dtype == "float64" else 0.1
    for name, value in endpoints.items():
        assert value.dtype == variable_dtype
        difference = np.linalg.norm(value - tf.cast(expected[name], variable_dtype))
        assert difference <= tolerance * np.linalg.norm(expected[name])


def test_mixed_precision_computes_in_bfloat16_with_our_batch_normalization():
    layers = create(dtype="mixed_bfloat16").encoder.base.layers
    policies = collections.Counter(layer.compute_dtype for layer in layers)
    assert set(policies) == {"bfloat16", "float32"}
    assert policies["bfloat16"] > 80
    kinds = {type(layer) for layer in layers}
    assert BatchNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds


def test_a_frozen_backbone_stands_still_while_the_dense_layers_train():
    model = create(backbone_trainable=False)
    before = values(model)
    train(model, steps=2)
    changed = {path for path, value in values(model).items() if not np.array_equal(value, before[path])}
    assert changed == {path for path in before if "/base/" not in path}
    np.testing.assert_array_equal(model(IMAGES)["pooled"], model(IMAGES, training=True)["pooled"])


def test_a_trainable_backbone_trains():
    model = create()
    before = values(model)
    train(model, steps=2)
    # Dense layers may have units that no image reaches.
    moved = [path for path, value in values(model).items() if not np.array_equal(value, before[path])]
    assert len(moved) == len(before)


@pytest.mark.parametrize("backbone_trainable", [True, False])
def test_freezing_knows_backbones(backbone_trainable):
    model = create(backbone_trainable=backbone_trainable)
    trainable = {variable.path for variable in model.trainable_variables}
    freeze(model, 4)
    assert {variable.path for variable in model.trainable_variables} == {
        "simclr/classifier/kernel",
        "simclr/classifier/bias",
    }
    freeze(model, -1)
    assert {variable.path for variable in model.trainable_variables} == trainable
    assert any("/base/" in path for path in trainable) == backbone_trainable
    for after_block in (0, 1, 2, 3):
        with pytest.raises(InputError, match=f"-1 .* or 4 .*train_after_block={after_block}"):
            freeze(model, after_block)


@pytest.mark.parametrize(("dtype", "backbone_trainable"), [("float32", True), ("mixed_bfloat16", False)])
def test_a_keras_file_gives_the_model_back(dtype, backbone_trainable, tmp_path, monkeypatch):
    model = create(dtype=dtype, backbone_trainable=backbone_trainable)
    shaken(model.weights)
    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(keras.utils, "get_file", None)  # nothing is downloaded
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert [variable.path for variable in loaded.variables] == [variable.path for variable in model.variables]
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    assert_same_outputs(loaded, model)


@pytest.mark.slow
@families
def test_files_of_every_family_give_the_model_back(name, tmp_path):
    size = backbone_record(f"keras:{name}").min_size
    model, other = (create(f"keras:{name}", image_size=size) for _ in range(2))
    shaken(model.weights)
    model(np.resize(IMAGES, (2, size, size, 3)), training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    for copied in (loaded, other):
        assert values(copied).keys() == values(model).keys()
        for path, value in values(copied).items():
            np.testing.assert_array_equal(value, values(model)[path], err_msg=path)


def test_weights_and_checkpoint_files_fill_a_new_model(tmp_path):
    model = create()
    shaken(model.weights)
    model.save_weights(tmp_path / "model.weights.h5")
    new = create()
    new.load_weights(tmp_path / "model.weights.h5")
    assert_same_outputs(new, model)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    stored = [name for name, _ in tf.train.list_variables(path) if name.startswith("model/")]
    assert len(stored) == len(model.variables)
    new = create()
    tf.train.Checkpoint(model=new).restore(path).assert_existing_objects_matched()
    assert_same_outputs(new, model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras:MobileNet", "keras:EfficientNetB0"])
def test_replicas_equal_one_device(name, mirrored):
    images = RNG.uniform(0, 1, (8, 32, 32, 3))
    labels = np.tile([0, 1, 2, 1], 2)

    def step(model, images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(model, images, labels)
        return tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    alone = create(name, dtype="float64")
    with mirrored.scope():
        model = create(name, dtype="float64")
    for theirs, ours in zip(alone.variables, model.variables):
        np.testing.assert_array_equal(theirs.numpy(), ours.numpy())
    expected = step(alone, images, labels)

    def share(array):
        parts = np.split(array, mirrored.num_replicas_in_sync)
        return mirrored.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    run = tf.function(lambda *batch: mirrored.run(lambda *part: step(model, *part), args=batch))
    gradients = run(share(images), share(labels))
    for variable, gradient, whole in zip(model.trainable_variables, gradients, expected):
        total = sum(np.asarray(part) for part in mirrored.experimental_local_results(gradient))
        np.testing.assert_allclose(total, whole, rtol=1e-7, atol=1e-9, err_msg=variable.path)
    for theirs, ours in zip(alone.non_trainable_variables, model.non_trainable_variables):
        for part in mirrored.experimental_local_results(ours.value):
            np.testing.assert_allclose(part.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-12, err_msg=ours.path)


@pytest.mark.parametrize(
    ("name", "size"), [("VGG16", 32), ("InceptionV3", 75), ("Xception", 71), ("NASNetMobile", 32)]
)
def test_images_below_the_least_size_are_refused(name, size):
    with pytest.raises(InputError, match=f"at least {size} pixels for keras:{name}.* image_size={size - 1}"):
        create(f"keras:{name}", image_size=size - 1)


def test_images_of_another_size_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"32 x 32 pixels, as keras:MobileNet.*Received: 48 x 40") as caught:
        create()(np.zeros((1, 48, 40, 3), "float32"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (SMALL, {"dense_layers": (8, 0)}, r"dense_layers=\(8, 0\)"),
        (SMALL, {"se_ratio": 0.25}, "no squeeze-excitation.*se_ratio=0.25"),
        (SMALL, {"head_layer": 1}, "between 0 and 0.* head_layer=1"),
        (SMALL, {"kept_head_layers": 1}, "between 0 and 0.* kept_head_layers=1"),
        (SMALL, {"dtype": "float16"}, "dtype='float16'"),
        ("r18_1x_sk0", {"backbone_weights": "imagenet"}, "named keras:NAME.*backbone_weights='imagenet'"),
        ("r18_1x_sk0", {"backbone_trainable": False}, "named keras:NAME.*backbone_trainable=False"),
    ],
)
def test_bad_arguments_are_named(name, arguments, message):
    with pytest.raises(InputError, match=message):
        create(name, **arguments)


def test_other_image_data_formats_are_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(InputError, match="channels_last"):
        create()
