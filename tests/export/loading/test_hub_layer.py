"""HubLayer is a Keras 3 layer as others are: computes what was exported, trains, freezes, and says what is wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import HubLayer
from simclr_keras.errors import InputError
from tests.export.conftest import WEIGHT_DECAY
from tests.export.foreign import SPEC, Listed, write_foreign
from tests.export.networks import SIZE, assert_close, images, make_network, outputs_of, values_of
from tests.export.sgd import step_by_hand

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

BATCH = images()
RATE = 1.0


def dense():
    return keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(0.01))


def sequential(layer):
    model = keras.Sequential([layer, dense()])
    return compiled(model)


def functional(layer):
    inputs = keras.Input((None, None, 3))
    return compiled(keras.Model(inputs, dense()(layer(inputs))))


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.dense = layer, dense()

    def call(self, inputs, training=False):
        return self.dense(self.layer(inputs, training=training))


def compiled(model):
    model.compile(keras.optimizers.SGD(RATE), "mse")
    return model


def fit(model):
    model.fit(BATCH, np.zeros((len(BATCH), 2)), batch_size=len(BATCH), shuffle=False, verbose=0)


def expected_step():
    """Return the variables of the exported network after the step that `fit` makes, weights first."""
    weights, (statistics,) = step_by_hand([BATCH], rate=RATE, scale=0.01, weight_decay=WEIGHT_DECAY)
    return weights + statistics


def assert_all_close(variables, values):
    for variable, value in zip(variables, values, strict=True):
        assert_close(variable, value, 1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_without_an_endpoint_it_gives_what_the_network_gives(exported, network, training):
    found, expected = HubLayer(exported)(BATCH, training=training), outputs_of(network, BATCH, training)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(found[name], value)


def test_an_endpoint_gives_one_tensor(exported, network):
    expected = outputs_of(network, BATCH)
    for endpoint, key in (("encoder", "final_avg_pool"), ("block_group4", "block_group4")):
        assert_close(HubLayer(exported, endpoint=endpoint)(BATCH), expected[key])


def test_images_of_other_sizes_are_taken(exported):
    assert HubLayer(exported, endpoint="encoder")(images(3, 21, 18)).shape == (3, 64)


def test_a_functional_model_knows_the_shapes_of_all_outputs(exported, network):
    found = HubLayer(exported)(keras.Input((SIZE, SIZE, 3)))
    for name, value in outputs_of(network, BATCH).items():
        assert found[name].shape == (None, *value.shape[1:]), name
    maps = HubLayer(exported, endpoint="block_group1")(keras.Input((None, None, 3)))
    assert maps.shape == (None, None, None, 8)


@pytest.mark.parametrize("make", [sequential, functional, lambda layer: compiled(Subclassed(layer))])
def test_a_fit_moves_weights_statistics_and_decays_as_by_hand(exported, make):
    layer = HubLayer(exported, endpoint="encoder")
    fit(make(layer))
    assert len(layer.trainable_weights) == len(make_network().trainable_variables)
    assert_all_close(layer.weights, expected_step())


def test_regularization_counts_once_however_often_the_layer_is_called(exported):
    layer = HubLayer(exported, endpoint="encoder")
    once, twice = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    model = keras.Model([once, twice], layer(once) - layer(twice))
    model([BATCH, BATCH[::-1]])
    kernels = [v for v in layer.trainable_weights if v.path.endswith("kernel")]
    expected = WEIGHT_DECAY * sum(float(tf.nn.l2_loss(v.value)) for v in kernels)
    assert len(kernels) > 1
    assert sum(map(float, model.losses)) == pytest.approx(expected, rel=1e-5)


def given(exported):
    return HubLayer(exported, endpoint="encoder", trainable=False)


def set_later(exported):
    layer = HubLayer(exported, endpoint="encoder")
    layer.trainable = False
    return layer


@pytest.mark.parametrize("make", [given, set_later])
def test_frozen_means_that_nothing_moves_or_is_penalized(exported, network, make):
    layer = make(exported)
    model = functional(layer)
    before = values_of(layer.variables)
    fit(model)
    assert not layer.trainable_weights
    assert not layer.losses
    for variable, value in zip(layer.variables, before):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)
    assert_close(layer(BATCH, training=True), outputs_of(network, BATCH)["final_avg_pool"])


def test_thawed_it_trains_and_is_penalized(exported):
    layer = given(exported)
    layer.trainable = True
    fit(functional(layer))
    assert_all_close(layer.weights, expected_step())


def test_frozen_by_the_model_around_it_it_does_not_move(exported):
    model = functional(HubLayer(exported, endpoint="encoder"))
    model.trainable = False
    assert not model.trainable_weights
    before = values_of(model.variables)
    model(BATCH, training=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, values_of(model.variables)))


def test_two_layers_of_one_export_go_their_own_ways(exported):
    inputs = keras.Input((SIZE, SIZE, 3))
    frozen, trained = (HubLayer(exported, endpoint="encoder", trainable=flag) for flag in (False, True))
    model = keras.Model(inputs, keras.layers.Dense(2)(frozen(inputs) + trained(inputs)))
    fit(compiled(model))
    paths = [variable.path for variable in model.variables]
    assert len({*paths}) == len(paths)
    moved = [not np.array_equal(a, b) for a, b in zip(values_of(frozen.weights), values_of(trained.weights))]
    assert sum(moved) > len(moved) / 2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_under_a_policy_the_graph_stays_in_float32_and_outputs_have_its_type(exported, network, policy):
    layer = HubLayer(exported, endpoint="encoder", dtype=policy)
    found = layer(BATCH)
    assert found.dtype.name == layer.compute_dtype == layer(keras.Input((SIZE, SIZE, 3))).dtype
    assert_close(tf.cast(found, tf.float32), outputs_of(network, BATCH)["final_avg_pool"], 1e-2)
    assert {variable.dtype for variable in layer.variables} == {"float32"}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_under_a_policy_it_trains(tmp_path, policy):
    write_foreign(tmp_path / "foreign")
    layer = HubLayer(tmp_path / "foreign", endpoint="features", dtype=policy)
    fit(functional(layer))
    assert not np.allclose(layer.weights[0], 1)


def test_xla_is_left_out_for_graphs_made_for_other_kernels(exported):
    assert not functional(HubLayer(exported, endpoint="encoder")).jit_compile


def test_a_module_of_others_trains(tmp_path):
    write_foreign(tmp_path / "foreign")
    layer = HubLayer(tmp_path / "foreign", endpoint="features")
    fit(sequential(layer))
    assert [variable.name for variable in layer.weights] == ["kernel", "mean"]
    assert not np.allclose(layer.weights[0], 1)
    np.testing.assert_allclose(
        layer.weights[1], tf.reduce_mean(tf.reduce_sum(tf.reduce_mean(BATCH, [1, 2]), -1))
    )


def test_a_module_of_one_nameless_output_needs_no_endpoint(tmp_path):
    write_foreign(tmp_path / "bare", bare=True)
    assert HubLayer(tmp_path / "bare")(BATCH).shape == (len(BATCH), 4)
    assert HubLayer(tmp_path / "bare")(keras.Input((SIZE, SIZE, 3))).shape == (None, 4)
    with pytest.raises(
        InputError, match=r"endpoint=logits, but .*bare returns one tensor .*leave endpoint out"
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


def test_an_unknown_endpoint_is_refused_with_those_that_exist(exported):
    with pytest.raises(
        InputError, match=r"has no endpoint features; it has block_group1, .*encoder, .*proj_head_3\.$"
    ):
        HubLayer(exported, endpoint="features")


def test_a_saved_model_that_cannot_be_called_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Conv2D(2, 3)])
    model.export(tmp_path / "keras", verbose=False)
    for trainable in (True, False):
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
    assert layer(BATCH, training=True).shape == (len(BATCH), 4)


def test_other_images_are_refused(tmp_path):
    write_foreign(tmp_path / "foreign")
    layer = HubLayer(tmp_path / "foreign")
    images = np.zeros((1, SIZE, SIZE, 3), np.float32)
    eight_bit = r"divide 8-bit ones by 255\. Received: uint8"
    for wrong, message in (
        (images.astype("uint8"), eight_bit),
        (keras.Input((SIZE, SIZE, 3), dtype="uint8"), eight_bit),
        (images[..., :1], r"takes images of shape \(None, None, None, 3\). Received: shape \(1, 16, 16, 1\)"),
        (images.tolist(), r"takes 1 tensor, not a structure of 768: give one array\.$"),
    ):
        with pytest.raises(InputError, match=message):
            layer(wrong)
