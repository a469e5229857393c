"""SimCLRModel: its endpoints, its classifier, its files."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.models.zoo import create_model

SMALL = "r18_0.125x_sk0"
IMAGES = np.random.default_rng(0).uniform(0, 1, (4, 16, 16, 3)).astype("float32")
FRESH_PROCESS = """
import sys
import keras, numpy as np
from simclr_keras import SimCLRModel
folder = sys.argv[1]
model = keras.saving.load_model(folder + "/model.keras")
images = np.load(folder + "/images.npy")
np.savez(folder + "/outputs.npz", **{name: np.asarray(value) for name, value in model(images).items()})
with open(folder + "/paths.txt", "w") as file:
    file.write("\\n".join(weight.path for weight in model.weights))
"""


def trained(**arguments):
    """A small model whose weights and moving statistics are not those of the start."""
    model = create_model(SMALL, **{"num_classes": 5, "image_size": 16, **arguments})
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign_add(rng.normal(0, 0.05, weight.shape))
    model(IMAGES, training=True)
    return model


def assert_same_outputs(first, second):
    first, second = first(IMAGES), second(IMAGES)
    assert list(first) == list(second)
    for name in first:
        np.testing.assert_array_equal(np.asarray(first[name]), np.asarray(second[name]))


def test_endpoints_come_in_order_with_heads_in_float32():
    model = create_model(SMALL, num_classes=5, image_size=16, dtype="mixed_bfloat16")
    endpoints = model(IMAGES)
    encoder = [
        "initial_conv",
        "initial_max_pool",
        *(f"block_group{i}" for i in range(1, 5)),
        "final_avg_pool",
    ]
    heads = [*(f"proj_head_{j}" for j in range(4)), "logits"]
    assert list(endpoints) == encoder + heads
    assert {endpoints[name].dtype for name in heads} == {tf.float32}
    np.testing.assert_array_equal(endpoints["proj_head_0"], endpoints["final_avg_pool"])


def test_without_classes_there_is_no_classifier():
    model = create_model(SMALL, image_size=16)
    assert model.classifier is None
    assert "logits" not in model(IMAGES)


def test_any_image_and_batch_size_is_taken():
    for size in [16, 12, 24]:
        model = create_model(SMALL, image_size=16)
        for count in (1, 3):
            endpoints = model(np.zeros((count, size, size, 3), "float32"))
            assert endpoints["proj_head_3"].shape == (count, 128)


@pytest.mark.slow
def test_the_classifier_sits_on_the_chosen_layer():
    for head_layer in [0, 1, 2, 3]:
        model = trained(head_layer=head_layer, proj_dim=16)
        endpoints = model(IMAGES)
        features = endpoints[f"proj_head_{head_layer}"]
        np.testing.assert_allclose(endpoints["logits"], model.classifier(features), rtol=1e-6)
        assert model.classifier.kernel.shape[0] == (16 if head_layer == 3 else 64)


def test_a_probe_leaves_the_network_alone():
    for stop_gradient in [True, False]:
        model = create_model(SMALL, num_classes=5, image_size=16, head_layer=1, stop_gradient=stop_gradient)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(IMAGES, training=True)["logits"] ** 2)
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        reached = {
            v.path.split("/")[1] for v, g in zip(model.trainable_variables, gradients) if g is not None
        }
        assert reached == ({"classifier"} if stop_gradient else {"classifier", "encoder", "projection_head"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"num_classes": None, "proj_mode": "linear"},
        {"proj_mode": "none", "dtype": "mixed_bfloat16"},
        {"kept_head_layers": 1, "head_layer": 1},
        {
            "head_layer": 1,
            "stop_gradient": True,
            "proj_layers": 2,
            "classifier_init": "zeros",
            "dtype": "float64",
        },
    ],
)
def test_a_keras_file_gives_the_model_back(arguments, tmp_path):
    model = trained(**arguments)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert [weight.path for weight in loaded.weights] == [weight.path for weight in model.weights]
    assert_same_outputs(model, loaded)


@pytest.mark.slow
def test_a_weights_file_fills_a_new_model(tmp_path):
    model = trained()
    model.save_weights(tmp_path / "model.weights.h5")
    new = create_model(SMALL, num_classes=5, image_size=16)
    new.load_weights(tmp_path / "model.weights.h5")
    assert_same_outputs(model, new)


def test_a_checkpoint_holds_every_variable(tmp_path):
    model = trained()
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    stored = [name for name, _ in tf.train.list_variables(path) if name.startswith("model/")]
    assert len(stored) == len(model.weights)
    new = create_model(SMALL, num_classes=5, image_size=16)
    tf.train.Checkpoint(model=new).restore(path).assert_existing_objects_matched()
    assert_same_outputs(model, new)


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [2], indirect=True)
def test_files_of_replicas_are_those_of_one_device(mirrored, tmp_path):
    with mirrored.scope():
        model = create_model(SMALL, num_classes=5, image_size=16)
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    model.save(tmp_path / "model.keras")
    alone = create_model(SMALL, num_classes=5, image_size=16)
    tf.train.Checkpoint(model=alone).restore(path).assert_existing_objects_matched()
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for weight, restored, read in zip(model.weights, alone.weights, loaded.weights):
        np.testing.assert_array_equal(weight.numpy(), restored.numpy())
        np.testing.assert_array_equal(weight.numpy(), read.numpy())
    for weight in alone.weights:
        weight.assign(weight * 2)
    path = tf.train.Checkpoint(model=alone).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=model).restore(path).assert_existing_objects_matched()
    for weight, expected in zip(model.weights, alone.weights):
        for copy in mirrored.experimental_local_results(weight.value):
            np.testing.assert_array_equal(copy.numpy(), expected.numpy())


@pytest.mark.slow
def test_a_fresh_process_loads_the_file(tmp_path):
    model = trained()
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, str(tmp_path)], check=True, env=environment)
    expected = model(IMAGES)
    with np.load(tmp_path / "outputs.npz") as outputs:
        assert sorted(outputs) == sorted(expected)
        for name in outputs:
            np.testing.assert_allclose(outputs[name], expected[name], rtol=1e-5, atol=1e-5)
    assert (tmp_path / "paths.txt").read_text().split("\n") == [weight.path for weight in model.weights]


@keras.saving.register_keras_serializable("tests")
class MeanColor(keras.layers.Layer):
    """The least that an encoder is."""

    def call(self, images, training=False):
        return {"final_avg_pool": tf.reduce_mean(images, [1, 2])}

    def compute_output_shape(self, input_shape):
        return {"final_avg_pool": (input_shape[0], input_shape[-1])}


def test_any_layer_with_a_final_avg_pool_is_an_encoder(tmp_path):
    model = SimCLRModel(MeanColor(name="encoder"), num_classes=2, proj_layers=2)
    model.build((None, 32, 32, 3))
    assert list(model(IMAGES)) == ["final_avg_pool", *(f"proj_head_{j}" for j in range(3)), "logits"]
    model.save(tmp_path / "model.keras")
    assert_same_outputs(model, keras.saving.load_model(tmp_path / "model.keras"))


@pytest.mark.slow
def test_weights_of_a_whole_model_fill_a_truncated_one(tmp_path):
    whole = trained(head_layer=1)
    whole.save_weights(tmp_path / "model.weights.h5")
    model = create_model(SMALL, num_classes=5, image_size=16, head_layer=1, kept_head_layers=1)
    values = {weight.path.partition("/")[2]: weight for weight in whole.weights}
    for weight in model.weights:
        weight.assign(values[weight.path.partition("/")[2]])
    expected, endpoints = whole(IMAGES), model(IMAGES)
    assert endpoints.keys() == expected.keys() - {"proj_head_2", "proj_head_3"}
    for name in endpoints:
        np.testing.assert_array_equal(endpoints[name], expected[name])
    loaded = create_model(SMALL, num_classes=5, image_size=16, head_layer=1, kept_head_layers=1)
    loaded.load_weights(tmp_path / "model.weights.h5")
    assert_same_outputs(model, loaded)


def test_class_names_are_kept_and_must_fit_the_classifier():
    model = create_model(SMALL, num_classes=2, image_size=8)
    assert model.class_names is None
    assert "class_names" not in model.get_config()
    model.class_names = ["ant", "bee"]
    assert SimCLRModel.from_config(model.get_config()).class_names == ("ant", "bee")
    with pytest.raises(InputError, match=r"one name per class of the classifier, 2\. Received: 3 names"):
        model.class_names = ["ant", "bee", "cat"]


def test_a_head_layer_beyond_the_head_is_named():
    for arguments, limit in [
        ({}, 3),
        ({"proj_mode": "linear"}, 1),
        ({"proj_layers": 0}, 0),
        ({"kept_head_layers": 1}, 1),
    ]:
        with pytest.raises(InputError, match=f"between 0 and {limit}.* head_layer=4"):
            create_model(SMALL, num_classes=2, head_layer=4, **arguments)


def test_images_of_integers_are_refused():
    model = create_model(SMALL, image_size=16)
    with pytest.raises(InputError, match=r"divide 8-bit ones by 255.* dtype=uint8") as caught:
        model(np.zeros((1, 16, 16, 3), "uint8"))
    assert "\n" not in str(caught.value)


def test_images_of_another_shape_are_refused():
    model = create_model(SMALL, image_size=16)
    for network in (model, model.encoder):
        for images, message in [
            (IMAGES[0], r"images\[None\]. Received: shape \(16, 16, 3\)"),
            (IMAGES[..., :1], r"Received: shape \(4, 16, 16, 1\)"),
            (keras.Input((16, 16, 1)), r"Received: shape \(None, 16, 16, 1\)"),
            (list(IMAGES), "Received: list"),
            (IMAGES.astype("int32"), "dtype=int32"),
        ]:
            with pytest.raises(InputError, match=message) as caught:
                network(images)
            assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_functional_model_can_hold_it():
    inputs = keras.Input((16, 16, 3))
    model = trained()
    logits = keras.Model(inputs, model(inputs)["logits"])
    np.testing.assert_allclose(logits(IMAGES), model(IMAGES)["logits"], rtol=1e-5, atol=1e-6)
