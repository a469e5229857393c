"""HubLayer is a Keras 3 layer as others are: computes what was exported, trains, freezes, and says what is wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import HubLayer
from simclr_keras.errors import InputError
from tests.export.conftest import WEIGHT_DECAY
from tests.export.foreign import SPEC, Listed, write_foreign
from tests.export.networks import SIZE, assert_close, images, outputs_of, values_of
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


@pytest.fixture(scope="module")
def whole(exported):
    """All endpoints of the export; the first test moves its statistics."""
    return HubLayer(exported)


@pytest.fixture(scope="module")
def shared_encoder(exported):
    return HubLayer(exported, endpoint="encoder")


@pytest.fixture
def encoder(shared_encoder):
    """A layer that a test may train and freeze."""
    before = values_of(shared_encoder.variables)
    yield shared_encoder
    shared_encoder.trainable = True
    for variable, value in zip(shared_encoder.variables, before):
        variable.assign(value)


@pytest.fixture
def foreign(tmp_path):
    """Path of a small SavedModel."""
    write_foreign(tmp_path / "foreign", losses=True)
    return tmp_path / "foreign"


def test_all_endpoints(whole, network):
    for training in (False, True):
        outputs, expected = whole(BATCH, training=training), outputs_of(network, BATCH, training)
        assert outputs.keys() == expected.keys()
        for name, value in expected.items():
            assert_close(outputs[name], value)


def test_an_endpoint_gives_one_tensor(exported, encoder, network):
    expected = outputs_of(network, BATCH)
    assert_close(encoder(BATCH), expected["final_avg_pool"])
    assert encoder(images(3, 21, 18)).shape == (3, 64)
    maps = HubLayer(exported, endpoint="block_group4", trainable=False)
    assert_close(maps(BATCH), expected["block_group4"])
    assert maps(keras.Input((None, None, 3))).shape == (None, None, None, 64)


def test_symbolic_shapes(whole, network):
    outputs = whole(keras.Input((SIZE, SIZE, 3)))
    for name, value in outputs_of(network, BATCH).items():
        assert outputs[name].shape == (None, *value.shape[1:]), name


def test_frozen_and_thawed(encoder, network):
    """Frozen, nothing moves or is penalized; thawed, a fit moves weights, statistics and decays as by hand."""
    before = values_of(encoder.variables)
    encoder.trainable = False
    model = functional(encoder)
    assert not model.jit_compile  # the graph was made for other kernels than those of XLA
    fit(model)
    assert not encoder.trainable_weights
    assert not encoder.losses
    for variable, value in zip(encoder.variables, before):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)
    assert_close(encoder(BATCH, training=True), outputs_of(network, BATCH)["final_avg_pool"])
    encoder.trainable = True
    fit(functional(encoder))
    assert len(encoder.trainable_weights) == len(network.trainable_variables)
    assert_all_close(encoder.weights, expected_step())


def test_a_fit_is_the_same_in_every_kind_of_model(foreign):
    weights = []
    for make in (functional, sequential, lambda layer: compiled(Subclassed(layer))):
        layer = HubLayer(foreign, endpoint="features")
        assert [variable.name for variable in layer.weights] == ["kernel", "mean"]
        fit(make(layer))
        weights.append(values_of(layer.weights))
    kernel, mean = weights[0]
    assert not np.allclose(kernel, 1)
    np.testing.assert_allclose(mean, tf.reduce_mean(tf.reduce_sum(tf.reduce_mean(BATCH, [1, 2]), -1)))
    for other in weights[1:]:
        assert_all_close(other, weights[0])


def test_regularization_counts_once_however_often_the_layer_is_called(encoder):
    once, twice = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    model = keras.Model([once, twice], encoder(once) - encoder(twice))
    model([BATCH, BATCH[::-1]])
    kernels = [v for v in encoder.trainable_weights if v.path.endswith("kernel")]
    expected = WEIGHT_DECAY * sum(float(tf.nn.l2_loss(v.value)) for v in kernels)
    assert len(kernels) > 1
    assert sum(map(float, model.losses)) == pytest.approx(expected, rel=1e-5)


def test_trainable_false_as_an_argument(foreign):
    layer = HubLayer(foreign, endpoint="features", trainable=False)
    before = values_of(layer.variables)
    fit(functional(layer))
    assert not layer.losses
    assert all(np.array_equal(a, b) for a, b in zip(before, values_of(layer.variables)))
    layer.trainable = True
    fit(functional(layer))
    assert not any(np.array_equal(a, b) for a, b in zip(before, values_of(layer.variables)))


def test_frozen_by_the_model_around_it(encoder):
    model = functional(encoder)
    model.trainable = False
    assert not model.trainable_weights
    before = values_of(model.variables)
    model(BATCH, training=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, values_of(model.variables)))


def test_two_layers_of_one_export_go_their_own_ways(foreign):
    inputs = keras.Input((SIZE, SIZE, 3))
    frozen, trained = (HubLayer(foreign, endpoint="features", trainable=flag) for flag in (False, True))
    model = keras.Model(inputs, keras.layers.Dense(2)(frozen(inputs) + trained(inputs)))
    fit(compiled(model))
    paths = [variable.path for variable in model.variables]
    assert len({*paths}) == len(paths)
    assert not any(
        np.array_equal(a, b) for a, b in zip(values_of(frozen.weights), values_of(trained.weights))
    )


def test_dtype_policies(foreign):
    """The graph stays in float32, outputs have the policy's type, and the layer trains."""
    expected = HubLayer(foreign, endpoint="features")(BATCH)
    for policy in ("mixed_bfloat16", "mixed_float16", "float64"):
        layer = HubLayer(foreign, endpoint="features", dtype=policy)
        outputs = layer(BATCH)
        assert outputs.dtype.name == layer.compute_dtype == layer(keras.Input((SIZE, SIZE, 3))).dtype
        assert_close(tf.cast(outputs, tf.float32), expected, 1e-2)
        assert {variable.dtype for variable in layer.variables} == {"float32"}
        fit(functional(layer))
        assert not np.allclose(layer.weights[0], 1)


def test_one_nameless_output_needs_no_endpoint(tmp_path):
    write_foreign(tmp_path / "bare", bare=True)
    layer = HubLayer(tmp_path / "bare")
    assert layer(BATCH).shape == (len(BATCH), 4)
    assert layer(keras.Input((SIZE, SIZE, 3))).shape == (None, 4)
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
        with pytest.raises(InputError, match=r"without __call__\(images, training\).*simclr export wrote"):
            HubLayer(tmp_path / "keras", trainable=trainable)


def test_what_cannot_train_needs_trainable_false(tmp_path):
    for settings, missing in (
        ({"modes": (False,)}, "training mode"),
        ({"listed": False}, "trainable_variables"),
    ):
        write_foreign(tmp_path / missing, **settings)
        with pytest.raises(InputError, match=f"without {missing}; give trainable=False"):
            HubLayer(tmp_path / missing)
        layer = HubLayer(tmp_path / missing, endpoint="features", trainable=False)
        assert layer(BATCH, training=True).shape == (len(BATCH), 4)


def test_other_images_are_refused(foreign):
    layer = HubLayer(foreign)
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
