"""A model that holds a HubLayer is saved whole: the file needs neither the export nor its place, and trains on."""

import copy
import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import HubLayer
from simclr_keras.errors import InputError
from tests.export.foreign import SPEC, Listed, write_foreign
from tests.export.networks import assert_close, images, make_network, values_of

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

BATCH = images()
SIZE = BATCH.shape[1]


@pytest.fixture
def place(tmp_path):
    """The folder of a small SavedModel, which may go."""
    write_foreign(tmp_path / "saved", losses=True)
    return tmp_path / "saved"


@pytest.fixture(scope="module")
def ours(exported, tmp_path_factory):
    """A fine-tuned model with an export of ours that is gone, its loaded file, and {entry of the file: size}."""
    folder = tmp_path_factory.mktemp("ours")
    path = shutil.copytree(exported, folder / "export")
    model = functional(path, endpoint="encoder")
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    fit(model).save(folder / "model.keras")
    with zipfile.ZipFile(folder / "model.keras") as file:
        sizes = {entry.filename: entry.file_size for entry in file.infolist()}
    sizes["graph"] = (path / "saved_model.pb").stat().st_size
    shutil.rmtree(path)
    return model, keras.models.load_model(folder / "model.keras"), sizes


def functional(path, **settings):
    inputs = keras.Input((SIZE, SIZE, 3))
    features = HubLayer(path, **{"endpoint": "features"} | settings)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(features))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def sequential(path):
    model = keras.Sequential([HubLayer(path, endpoint="features"), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer, self.dense = layer, keras.layers.Dense(2)

    def call(self, inputs, training=False):
        return self.dense(self.layer(inputs, training=training))

    def get_config(self):
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


def subclassed(path):
    model = Subclassed(HubLayer(path, endpoint="features"))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def fit(model):
    model.fit(BATCH, np.zeros((len(BATCH), 2)), batch_size=len(BATCH), shuffle=False, verbose=0)
    return model


def check_same(found, expected):
    """Same weights and outputs; and once more after both have trained on."""
    for again in (False, True):
        if again:
            fit(found), fit(expected)
        assert [v.name for v in found.variables] == [v.name for v in expected.variables]
        for one, other in zip(found.weights, expected.weights, strict=True):
            assert_close(one, other)
        assert_close(found(BATCH), expected(BATCH))


@pytest.mark.parametrize("make", [functional, sequential, subclassed])
def test_a_file_gives_the_fine_tuned_model_back(place, tmp_path, make):
    model = fit(make(place))
    model.save(tmp_path / "model.keras")
    assert_close(keras.models.load_model(tmp_path / "model.keras")(BATCH), model(BATCH))
    place.rename(tmp_path / "elsewhere")
    check_same(keras.models.load_model(tmp_path / "model.keras"), model)  # safe_mode, as it is by default


def test_gradients_after_loading_are_those_of_the_network(ours):
    layer, network = ours[1].layers[1], make_network()
    for variable, value in zip(network.trainable_variables + network.non_trainable_variables, layer.weights):
        variable.assign(value)

    def gradients(call, variables, training):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(call(BATCH, training=training)))
        return tape.gradient(loss, [v.value for v in variables], unconnected_gradients="zero")

    before = values_of(layer.variables)
    for training in (False, True):
        found = gradients(layer, layer.trainable_weights, training)
        expected = gradients(
            lambda *a, **k: network(*a, **k)["final_avg_pool"], network.trainable_variables, training
        )
        assert sum(float(tf.norm(gradient)) > 0 for gradient in found) > 30
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, 1e-4)
    for variable, value in zip(layer.variables, before):
        variable.assign(value)


def test_a_file_with_an_export_of_ours_gives_the_fine_tuned_model_back(ours):
    model, loaded, _ = ours
    check_same(loaded, model)


def test_the_file_holds_every_weight_once(ours):
    model, _, sizes = ours
    weights = 4 * model.count_params()
    assert weights < sizes["model.weights.h5"] < 1.6 * weights  # HDF5 wants some room for each of many arrays
    assert sizes["config.json"] < sizes["graph"] / 2


def test_a_frozen_layer_comes_back_frozen(place, tmp_path):
    model = functional(place, trainable=False)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(place)
    found = keras.models.load_model(tmp_path / "model.keras")
    assert not found.layers[1].trainable_weights
    check_same(found, model)


def test_the_loaded_model_is_saved_again(place, tmp_path):
    model = fit(functional(place))
    model.save(tmp_path / "first.keras")
    shutil.rmtree(place)
    keras.models.load_model(tmp_path / "first.keras").save(tmp_path / "second.keras")
    check_same(keras.models.load_model(tmp_path / "second.keras"), model)


def test_two_layers_of_one_export_come_back_apart(place, tmp_path):
    inputs = keras.Input((SIZE, SIZE, 3))
    layers = [HubLayer(place, endpoint=name) for name in ("features", "shifted")]
    model = keras.Model(inputs, keras.layers.Dense(2)(layers[0](inputs) - layers[1](inputs)))
    layers[1].weights[0].assign(tf.ones(layers[1].weights[0].shape))
    model.compile("sgd", "mse")
    model.save(tmp_path / "two.keras")
    shutil.rmtree(place)
    found = keras.models.load_model(tmp_path / "two.keras")
    for one, other in zip(found.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(found(BATCH), model(BATCH), rtol=1e-5, atol=1e-6)


def test_weights_alone_are_saved_and_loaded(place, tmp_path):
    model, other = fit(functional(place)), functional(place)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(other(BATCH), model(BATCH), rtol=1e-5, atol=1e-6)


def test_the_model_around_it_is_exported(place, tmp_path):
    model = fit(functional(place))
    model.save(tmp_path / "model.keras")
    for name in ("made", "loaded"):
        if name == "loaded":
            shutil.rmtree(place)
            model = keras.models.load_model(tmp_path / "model.keras")
        model.export(tmp_path / name, verbose=False)
        served = tf.saved_model.load(tmp_path / name)
        np.testing.assert_allclose(served.serve(BATCH), model(BATCH), rtol=1e-5, atol=1e-6)


def test_a_deep_copy_has_weights_of_its_own(place):
    model = fit(functional(place))
    shutil.rmtree(place)
    found = copy.deepcopy(model)
    np.testing.assert_allclose(found(BATCH), model(BATCH), rtol=1e-5, atol=1e-6)
    found.layers[1].weights[0].assign(tf.zeros(found.layers[1].weights[0].shape))
    assert np.abs(model.layers[1].weights[0]).max() > 0


def test_a_clone_has_the_weights_of_the_export(place):
    model = fit(functional(place))
    clone = keras.models.clone_model(model)
    for one, other in zip(clone.layers[1].weights, HubLayer(place).weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_clone_without_the_export_says_that_it_has_no_weights_until_it_gets_some(place):
    model = fit(functional(place))
    shutil.rmtree(place)
    clone = keras.models.clone_model(model)
    with pytest.raises(InputError, match=r"has no weights: .*saved is missing; set them"):
        clone(BATCH)
    with pytest.raises(InputError, match="has no weights"):
        clone.predict(BATCH, verbose=0)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(clone(BATCH), model(BATCH), rtol=1e-5, atol=1e-6)


def test_another_export_in_the_old_place_does_not_disturb(place, tmp_path):
    model = fit(functional(place))
    model.save(tmp_path / "model.keras")
    shutil.rmtree(place)
    write_foreign(place, bare=True)
    check_same(keras.models.load_model(tmp_path / "model.keras"), model)


def test_what_a_module_holds_beside_its_variables_comes_along(tmp_path):
    class Lookup(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel, self.hidden = tf.Variable(tf.ones([3, 2])), tf.Variable(tf.constant([3.0, 5.0]))
            (tmp_path / "words.txt").write_text("ant\nbee\n")
            file = tf.lookup.TextFileInitializer(
                str(tmp_path / "words.txt"),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            )
            self.table = tf.lookup.StaticHashTable(file, -1)

        @tf.function
        def __call__(self, images, training=False):
            number = tf.cast(self.table.lookup(tf.constant("bee")), tf.float32)
            return (tf.reduce_mean(images, [1, 2]) @ self.kernel) * self.hidden + number

    module = Lookup()
    for training in (False, True):
        module.__call__.get_concrete_function(SPEC, training=training)
    listed = Listed(module, [module.kernel])
    listed.table, listed.hidden = module.table, module.hidden
    tf.saved_model.save(listed, str(tmp_path / "lookup"))
    expected = module(BATCH)
    model = keras.Sequential([HubLayer(tmp_path / "lookup")])
    model(BATCH)
    model.save(tmp_path / "model.keras")
    (tmp_path / "lookup").rename(tmp_path / "away")
    (tmp_path / "words.txt").unlink()
    found = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(found(BATCH), expected, rtol=1e-6)
    found.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(BATCH), expected, rtol=1e-6)


def test_a_damaged_config_is_refused_in_one_line(place):
    config = HubLayer(place).get_config()
    json.dumps(config)
    for carried in ("", "no base64!", config["carried"][:-200]):
        with pytest.raises(InputError, match=r"the SavedModel in the \.keras file is damaged") as caught:
            HubLayer.from_config({**config, "carried": carried})
        assert "\n" not in str(caught.value)
