"""The SavedModel through every loader there is: the outputs of the network, and its training."""

import functools
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras

from tests.export.conftest import WEIGHT_DECAY
from tests.export.networks import CLASSES, SIZE, assert_close, images, outputs_of, values_of
from tests.export.sgd import step_by_hand

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

LEARNING_RATE = 0.1
RATE_TOLERANCE = 1e-4  # of a variable after a step: rounding of gradients through 20 normalizations


@functools.cache
def expected_step(weight_decay=WEIGHT_DECAY, parts=1):
    weights, statistics = step_by_hand(
        np.split(images(), parts), rate=LEARNING_RATE, weight_decay=weight_decay
    )
    return weights, *statistics


def downstream(framework, layer, output_key=None):
    """A functional model of one output, the sum of a layer's features twice; `framework` is keras or tf_keras."""
    inputs = framework.Input((SIZE, SIZE, 3))
    features = layer(inputs)[output_key] if output_key else layer(inputs)
    return framework.Model(inputs, framework.layers.Dense(2, kernel_initializer="ones")(features))


def fit_one_step(framework, model, layer, optimizer=None):
    """Takes the step of `expected_step`; returns the layer's (weights, statistics)."""
    model.compile(optimizer or framework.optimizers.SGD(LEARNING_RATE), "mse")
    if optimizer:
        model.optimizer.build(model.trainable_variables)  # as the card and docs/export.md say
    model.fit(images(), np.zeros((4, 2)), batch_size=4, shuffle=False, verbose=0)
    return values_of(layer.trainable_variables), values_of(layer.non_trainable_variables)


def assert_stepped(found, expected):
    for ours, theirs in zip(found, expected):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            assert_close(one, other, RATE_TOLERANCE)


@pytest.fixture(scope="module")
def expected(network):
    return outputs_of(network, images())


class TestHub:
    def test_load(self, exported, expected):
        outputs = hub.load(exported)(tf.constant(images()))
        assert {*outputs} == {*expected}
        for name, value in expected.items():
            assert_close(outputs[name], value)

    def test_keras_layer_takes_a_signature_and_a_key(self, exported, expected):
        signature, key = "encoder", "final_avg_pool"
        layer = hub.KerasLayer(exported, signature=signature, output_key=key)
        assert_close(layer(images()), expected[key])
        whole = hub.KerasLayer(exported, signature=signature, signature_outputs_as_dict=True)
        assert_close(whole(images())[key], expected[key])

    def test_a_frozen_layer_stands_still_in_training(self, exported, network, expected):
        layer = hub.KerasLayer(exported, trainable=False)
        for name, value in expected.items():
            assert_close(layer(images())[name], value)
        fit_one_step(tf_keras, downstream(tf_keras, layer, "final_avg_pool"), layer)
        assert not layer.trainable_variables
        before = {variable.path: variable.numpy() for variable in network.variables}
        assert len(layer.variables) == len(before)
        for variable in layer.variables:
            assert (variable.numpy() == before[variable.name.split(":")[0]]).all()

    def test_a_trainable_layer_takes_the_networks_step(self, exported, tmp_path):
        """Once as it is made, and once as a file gives it back."""
        layer = hub.KerasLayer(exported, trainable=True)
        model = downstream(tf_keras, layer, "final_avg_pool")
        model.save(tmp_path / "model.keras")
        loaded = tf_keras.models.load_model(tmp_path / "model.keras", {"KerasLayer": hub.KerasLayer})
        assert_close(loaded(images()), model(images()))
        # In the order of its lists: trainable ones, then the rest.
        assert_stepped(fit_one_step(tf_keras, model, layer), expected_step())
        assert_stepped(fit_one_step(tf_keras, loaded, loaded.layers[1]), expected_step())

    def test_two_replicas_take_the_step_of_both_halves(self, exported, network, tmp_path, own_collectives):
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            layer = hub.KerasLayer(exported, trainable=True)
            model = downstream(tf_keras, layer, "final_avg_pool")
        fit_one_step(tf_keras, model, layer)

        def on_replica(variables, replica):
            return [strategy.experimental_local_results(v)[replica].numpy() for v in variables]

        expected = expected_step(parts=2)
        for replica in (0, 1):
            weights = on_replica(layer.trainable_variables, replica)
            # Each replica moves its own statistics, by its own half of the batch.
            statistics = on_replica(layer.non_trainable_variables, replica)
            assert_stepped((weights, statistics), (expected[0], expected[1 + replica]))
        model.save(tmp_path / "model.keras")
        loaded = tf_keras.models.load_model(tmp_path / "model.keras", {"KerasLayer": hub.KerasLayer})
        assert all(
            (one.numpy() == other).all()
            for one, other in zip(
                loaded.layers[1].trainable_variables, on_replica(layer.trainable_variables, 0)
            )
        )
        with strategy.scope():
            by_key = hub.KerasLayer(exported, signature="logits", output_key="logits")
        assert_close(
            strategy.run(by_key, args=(tf.constant(images()),)).values[1],
            outputs_of(network, images())["logits"],
        )

    def test_other_models_and_other_files(self, exported, tmp_path):
        layer = hub.KerasLayer(exported, trainable=True, output_key="final_avg_pool")
        model = tf_keras.Sequential([tf_keras.Input((SIZE, SIZE, 3)), layer, tf_keras.layers.Dense(2)])
        for name in ("model", "model.h5"):
            model.save(tmp_path / name)
        before = values_of(layer.variables)
        fit_one_step(tf_keras, model, layer)
        moved = {v.name: (old != v.numpy()).any() for v, old in zip(layer.variables, before)}
        assert moved["simclr/encoder/stem/conv1/kernel:0"]
        assert moved["simclr/encoder/stem/bn1/moving_mean:0"]
        for name in ("model", "model.h5"):
            loaded = tf_keras.models.load_model(tmp_path / name, {"KerasLayer": hub.KerasLayer})
            again = loaded.layers[-2]
            fit_one_step(tf_keras, loaded, again)
            assert_stepped((values_of(again.variables),), (values_of(layer.variables),))


class TestTFSMLayer:
    def test_calls_an_endpoint(self, exported, expected):
        layer = keras.layers.TFSMLayer(exported, call_endpoint="encoder")
        assert_close(layer(images()), expected["final_avg_pool"])

    def test_gives_all_vectors_where_it_is_not_told_which(self, exported, expected):
        found = keras.layers.TFSMLayer(exported, call_endpoint="serve")(images())
        heads = (f"proj_head_{layer}" for layer in range(4))
        assert {*found} == {"final_avg_pool", *heads, "logits", "probabilities"}
        assert_close(found["logits"], expected["logits"])

    def test_the_training_endpoint_takes_the_networks_step(self, exported, network):
        layer = keras.layers.TFSMLayer(
            exported, call_endpoint="encoder", call_training_endpoint="encoder_train"
        )
        # It knows no regularization losses.
        found = fit_one_step(keras, downstream(keras, layer), layer)
        assert_stepped(found, expected_step(weight_decay=0.0))

    def test_other_optimizers_than_plain_sgd_train_it(self, exported, network):
        stepped, _ = expected_step(weight_decay=0.0)
        before = values_of(network.trainable_variables)
        gradients = [(old - new) / LEARNING_RATE for old, new in zip(before, stepped)]
        root = np.sqrt(1 - 0.999)  # of Adam's corrected second moment in its first step; epsilon 1 is smooth
        steps = {
            keras.optimizers.SGD(LEARNING_RATE, momentum=0.9): lambda g: g,
            keras.optimizers.Adam(LEARNING_RATE, epsilon=1.0): lambda g: root * g / (root * np.abs(g) + 1),
        }
        layer = keras.layers.TFSMLayer(
            exported, call_endpoint="encoder", call_training_endpoint="encoder_train"
        )
        first = layer.get_weights()
        for optimizer, step in steps.items():
            layer.set_weights(first)
            found, _ = fit_one_step(keras, downstream(keras, layer), layer, optimizer)
            expected = [old - LEARNING_RATE * step(g) for old, g in zip(before, gradients)]
            assert_stepped((found,), (expected,))


class TestElsewhere:
    def test_saved_model_cli(self, exported, expected, tmp_path):
        np.save(tmp_path / "images.npy", images())
        program = [os.path.join(os.path.dirname(sys.executable), "saved_model_cli"), "run", "--dir", exported]
        signature = ["--tag_set", "serve", "--signature_def", "logits"]
        files = ["--inputs", f"images={tmp_path}/images.npy", "--outdir", str(tmp_path)]
        subprocess.run([*program, *signature, *files], capture_output=True, check=True)
        assert_close(np.load(tmp_path / "logits.npy"), expected["logits"])

    def test_another_process_without_this_package_loads_and_trains_it(self, exported, expected, tmp_path):
        np.save(tmp_path / "images.npy", images())
        (tmp_path / "other.py").write_text(OTHER_PROCESS)
        done = subprocess.run(
            [sys.executable, "other.py", exported],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["classes"] == list(CLASSES)
        assert found["without_gradient"] == 0
        assert_close(np.load(tmp_path / "logits.npy"), expected["logits"])


OTHER_PROCESS = """
import json, sys

sys.modules["simclr_keras"] = None  # importing it fails from here on
import numpy as np
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
images = tf.constant(np.load("images.npy"))
np.save("logits.npy", loaded.signatures["logits"](images=images)["logits"])
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(loaded(images, training=True)["logits"] ** 2)
gradients = tape.gradient(loss, loaded.trainable_variables)
names = tf.io.gfile.GFile(loaded.class_names.asset_path.numpy()).read().splitlines()
print(json.dumps({"classes": names, "without_gradient": sum(g is None for g in gradients)}))
"""
