"""HubLayer is a Keras 3 layer as others are: computes what was exported, trains, freezes, and says what is wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import simclr_keras
from simclr_keras import HubLayer
from simclr_keras.errors import InputError
from tests.export.small_exports import SIZE, SPEC, Listed, images, small_network, write_export, write_foreign

DECAY = 0.1


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub_layer") / "export"
    write_export(folder, weight_decay=DECAY)
    return str(folder)


@pytest.fixture(scope="module")
def network():
    return small_network()


def values(variables):
    return [variable.numpy() for variable in variables]


def sequential(layer):
    model = keras.Sequential([layer, keras.layers.Dense(2, kernel_initializer="ones")])
    return compiled(model)


def functional(layer):
    inputs = keras.Input((None, None, 3))
    return compiled(keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="ones")(layer(inputs))))


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.dense = layer, keras.layers.Dense(2, kernel_initializer="ones")

    def call(self, inputs, training=False):
        return self.dense(self.layer(inputs, training=training))


def compiled(model):
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def fit(model, count=8):
    model.fit(images(count=count), np.zeros((count, 2)), batch_size=count, shuffle=False, verbose=0)


def step_by_hand(network, decay):
    """The variables of the exported network after the step that `fit` makes: weights first, then statistics."""
    weights = [v.value for v in network.trainable_variables]
    with tf.GradientTape() as tape:
        features = network(images(), training=True)["final_avg_pool"]
        loss = tf.reduce_mean(tf.square(tf.reduce_sum(features, axis=-1)))
        kernels = [v for v in network.trainable_variables if v.path.endswith("kernel")]
        loss += decay * tf.add_n([tf.nn.l2_loss(v.value) for v in kernels])
    gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
    stepped = [w - 0.1 * g for w, g in zip(weights, gradients)]
    return stepped + values(network.non_trainable_variables)


def test_it_is_a_public_name():
    assert "HubLayer" in simclr_keras.__all__


def test_without_an_endpoint_it_gives_what_the_network_gives(path, network):
    for training in (False, True):
        found, expected = HubLayer(path)(images(), training=training), network(images(), training=training)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        ("encoder", "final_avg_pool"),
        ("proj_head_1", "proj_head_1"),
        ("logits", "logits"),
        ("block_group4", "block_group4"),
    ],
)
def test_an_endpoint_gives_one_tensor(path, endpoint, key):
    found = HubLayer(path, endpoint=endpoint)(images())
    np.testing.assert_allclose(found, small_network()(images())[key], rtol=1e-5, atol=1e-6)


def test_images_of_other_sizes_are_taken(path):
    assert HubLayer(path, endpoint="encoder")(images(size=21, count=3)).shape == (3, 64)


def test_a_functional_model_knows_the_shapes_of_all_outputs(path):
    found = HubLayer(path)(keras.Input((SIZE, SIZE, 3)))
    for name, value in small_network()(images()).items():
        assert found[name].shape == (None, *value.shape[1:]), name
    maps = HubLayer(path, endpoint="block_group1")(keras.Input((None, None, 3)))
    assert maps.shape == (None, None, None, 8)


@pytest.mark.parametrize("make", [sequential, functional, lambda layer: compiled(Subclassed(layer))])
def test_a_fit_moves_weights_statistics_and_decays_as_by_hand(path, make):
    layer = HubLayer(path, endpoint="encoder")
    fit(make(layer))
    expected = step_by_hand(small_network(), DECAY)
    assert len(layer.trainable_weights) == len(small_network().trainable_variables)
    for variable, value in zip(layer.weights, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-5, err_msg=variable.path)


def test_regularization_counts_once_however_often_the_layer_is_called(path):
    layer = HubLayer(path, endpoint="encoder")
    once, twice = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    model = keras.Model([once, twice], layer(once) - layer(twice))
    model([images(), images(1)])
    kernels = [v for v in layer.trainable_weights if v.path.endswith("kernel")]
    expected = DECAY * sum(float(tf.nn.l2_loss(v.value)) for v in kernels)
    assert len(kernels) > 1
    assert sum(map(float, model.losses)) == pytest.approx(expected, rel=1e-5)


def given(path):
    return HubLayer(path, endpoint="encoder", trainable=False)


def set_later(path):
    layer = HubLayer(path, endpoint="encoder")
    layer.trainable = False
    return layer


@pytest.mark.parametrize("make", [given, set_later])
def test_frozen_means_that_nothing_moves_or_is_penalized(path, make):
    layer = make(path)
    model = functional(layer)
    before = values(layer.variables)
    fit(model)
    assert not layer.trainable_weights
    assert not layer.losses
    for variable, value in zip(layer.variables, before):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)
    inference = small_network()(images())["final_avg_pool"]
    np.testing.assert_allclose(layer(images(), training=True), inference, rtol=1e-5, atol=1e-6)


def test_thawed_it_trains_and_is_penalized(path):
    layer = given(path)
    layer.trainable = True
    fit(functional(layer))
    for variable, value in zip(layer.weights, step_by_hand(small_network(), DECAY), strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-5, err_msg=variable.path)


def test_frozen_by_the_model_around_it_it_does_not_move(path):
    model = functional(HubLayer(path, endpoint="encoder"))
    model.trainable = False
    assert not model.trainable_weights
    before = values(model.variables)
    model(images(), training=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, values(model.variables)))


def test_two_layers_of_one_export_go_their_own_ways(path):
    inputs = keras.Input((SIZE, SIZE, 3))
    frozen, trained = (HubLayer(path, endpoint="encoder", trainable=flag) for flag in (False, True))
    model = keras.Model(inputs, keras.layers.Dense(2)(frozen(inputs) + trained(inputs)))
    fit(compiled(model))
    paths = [variable.path for variable in model.variables]
    assert len({*paths}) == len(paths)
    moved = [not np.array_equal(a, b) for a, b in zip(values(frozen.weights), values(trained.weights))]
    assert sum(moved) > len(moved) / 2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_under_a_policy_the_graph_stays_in_float32_and_outputs_have_its_type(path, policy):
    layer = HubLayer(path, endpoint="encoder", dtype=policy)
    found = layer(images())
    assert found.dtype.name == layer.compute_dtype == layer(keras.Input((SIZE, SIZE, 3))).dtype
    np.testing.assert_allclose(
        tf.cast(found, tf.float32), small_network()(images())["final_avg_pool"], rtol=1e-2, atol=1e-3
    )
    assert {variable.dtype for variable in layer.variables} == {"float32"}
    model = functional(layer)
    before = values(layer.weights)
    fit(model)
    assert not np.array_equal(before[0], layer.weights[0])


def test_xla_is_left_out_for_graphs_made_for_other_kernels(path):
    assert not functional(HubLayer(path, endpoint="encoder")).jit_compile


def test_a_module_of_others_trains(tmp_path):
    write_foreign(tmp_path / "foreign")
    layer = HubLayer(tmp_path / "foreign", endpoint="features")
    fit(sequential(layer))
    assert [variable.name for variable in layer.weights] == ["kernel", "mean"]
    assert not np.allclose(layer.weights[0], 1)
    np.testing.assert_allclose(
        layer.weights[1], tf.reduce_mean(tf.reduce_sum(tf.reduce_mean(images(), [1, 2]), -1))
    )


def test_a_module_of_one_nameless_output_needs_no_endpoint(tmp_path):
    write_foreign(tmp_path / "bare", bare=True)
    assert HubLayer(tmp_path / "bare")(images()).shape == (8, 4)
    assert HubLayer(tmp_path / "bare")(keras.Input((SIZE, SIZE, 3))).shape == (None, 4)
    with pytest.raises(
        InputError, match=r"endpoint=logits, but .*bare puts out one tensor .*leave endpoint out"
    ):
        HubLayer(tmp_path / "bare", endpoint="logits")


def test_variables_of_one_name_get_names_of_their_own(tmp_path):
    module = tf.Module()
    kernels = [tf.Variable(tf.ones([3, 2]), name="kernel") for _ in range(3)]
    module.__call__ = tf.function(
        lambda images, training=False: sum(tf.reduce_mean(images, [1, 2]) @ kernel for kernel in kernels)
    )
    for training in (False, True):
        module.__call__.get_concrete_function(SPEC, training=training)
    tf.saved_model.save(Listed(module, kernels), str(tmp_path / "doubled"))
    layer = HubLayer(tmp_path / "doubled")
    assert [variable.name for variable in layer.weights] == ["kernel", "kernel_1", "kernel_2"]


def test_an_unknown_endpoint_is_refused_with_those_that_exist(path):
    with pytest.raises(
        InputError, match=r"has no endpoint features; it has block_group1, .*encoder, .*proj_head_2\.$"
    ):
        HubLayer(path, endpoint="features")


def test_what_is_no_saved_model_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, why in (("folder", "holds no saved_model.pb"), ("nowhere", "no such directory")):
        with pytest.raises(
            InputError, match=f"path=.*{name}.*{why}; give a SavedModel that export.py wrote.$"
        ):
            HubLayer(tmp_path / name)


def test_a_run_directory_is_told_how_it_becomes_one(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=f"is a run directory.*export.py --run={tmp_path}"):
        HubLayer(tmp_path)


@pytest.mark.parametrize("damage", ["graph", "values"])
def test_a_damaged_saved_model_is_refused_in_one_line(tmp_path, damage):
    folder = tmp_path / "cut"
    write_foreign(folder)
    file = folder / "saved_model.pb" if damage == "graph" else next((folder / "variables").glob("*.index"))
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(InputError, match="cut is a SavedModel that cannot be loaded") as caught:
        HubLayer(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("trainable", [True, False])
def test_a_saved_model_that_cannot_be_called_is_refused(tmp_path, trainable):
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Conv2D(2, 3)])
    model.export(tmp_path / "keras", verbose=False)
    with pytest.raises(InputError, match=r"without __call__\(images, training\).*export.py wrote"):
        HubLayer(tmp_path / "keras", trainable=trainable)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [({"modes": (False,)}, "training mode"), ({"listed": False}, "trainable_variables")],
)
def test_what_cannot_train_is_refused_unless_it_need_not(tmp_path, settings, missing):
    write_foreign(tmp_path / "fixed", **settings)
    with pytest.raises(InputError, match=f"without {missing}; give trainable=False"):
        HubLayer(tmp_path / "fixed")
    layer = HubLayer(tmp_path / "fixed", endpoint="features", trainable=False)
    assert layer(images(), training=True).shape == (8, 4)


@pytest.mark.parametrize("symbolic", [True, False])
def test_8_bit_images_are_refused(path, symbolic):
    layer = HubLayer(path, endpoint="encoder")
    eight_bit = (
        keras.Input((SIZE, SIZE, 3), dtype="uint8") if symbolic else np.zeros((1, SIZE, SIZE, 3), np.uint8)
    )
    with pytest.raises(InputError, match=r"divide 8-bit ones by 255\. Received: dtype=uint8"):
        layer(eight_bit)


def test_images_of_another_shape_are_refused(path):
    with pytest.raises(
        InputError, match=r"takes inputs of shape \(None, None, None, 3\). Received: shape \(1, 9, 9, 1\)"
    ):
        HubLayer(path)(np.zeros((1, 9, 9, 1), np.float32))
