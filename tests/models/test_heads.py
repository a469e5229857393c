"""The heads: their layers, endpoints, modes and precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.heads import ClassificationHead, ProjectionHead

FEATURES = np.random.default_rng(0).normal(1, 2, (16, 24)).astype("float32")


def built(head, width=24):
    head.build((None, width))
    return head


def normalized(x, gamma, beta):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * gamma + beta


def twin(head, features):
    """Every endpoint in training mode, by NumPy."""
    weights = {weight.path.partition("/")[2]: weight.numpy() for weight in head.weights}
    endpoints = [features]
    for j in range(1, head.depth + 1):
        x = endpoints[-1] @ weights[f"dense{j}/kernel"]
        if j < head.depth:
            x = np.maximum(normalized(x, weights[f"bn{j}/gamma"], weights[f"bn{j}/beta"]), 0)
        else:
            x = normalized(x, weights[f"bn{j}/gamma"], 0)
        endpoints.append(x)
    return endpoints


@pytest.mark.parametrize(
    ("num_layers", "mode", "expected"),
    [
        (3, "nonlinear", [24, 24, 24, 8]),
        (2, "nonlinear", [24, 24, 8]),
        (1, "nonlinear", [24, 8]),
        (0, "nonlinear", [24]),
        (3, "linear", [24, 8]),
        (3, "none", [24]),
    ],
)
def test_every_layer_is_an_endpoint_and_the_slow_twin(num_layers, mode, expected):
    head = built(ProjectionHead(num_layers, mode, 8))
    for weight in head.weights:
        weight.assign(weight + np.random.default_rng(1).uniform(0, 0.5, weight.shape))
    endpoints = head(FEATURES, training=True)
    assert list(endpoints) == [f"proj_head_{j}" for j in range(len(expected))]
    assert [endpoint.shape[-1] for endpoint in endpoints.values()] == expected
    assert {name: tuple(value.shape) for name, value in endpoints.items()} == head.compute_output_shape(
        (16, 24)
    )
    for endpoint, value in zip(endpoints.values(), twin(head, FEATURES)):
        np.testing.assert_allclose(endpoint, value, rtol=1e-3, atol=1e-4)


def test_only_hidden_layers_have_offsets_and_no_layer_a_bias():
    names = [weight.path.partition("/")[2] for weight in built(ProjectionHead(2)).trainable_variables]
    assert names == ["dense1/kernel", "bn1/gamma", "bn1/beta", "dense2/kernel", "bn2/gamma"]
    linear = [
        weight.path.partition("/")[2] for weight in built(ProjectionHead(3, "linear")).trainable_variables
    ]
    assert linear == ["dense1/kernel", "bn1/gamma"]


@pytest.mark.parametrize(("width", "expected"), [(512, 594304), (2048, 8667520)])
def test_parameters_are_those_of_the_release(width, expected):
    assert built(ProjectionHead(), width).count_params() == expected


def test_kernels_start_small():
    head = built(ProjectionHead(), 256)
    assert np.std(head.dense1.kernel) == pytest.approx(0.01, rel=0.05)
    assert np.std(built(ClassificationHead(100), 256).kernel) == pytest.approx(0.01, rel=0.05)


def test_classifier_is_linear_with_bias():
    head = built(ClassificationHead(5))
    head.bias.assign(np.arange(5))
    expected = FEATURES @ np.asarray(head.kernel) + np.arange(5)
    np.testing.assert_allclose(head(FEATURES), expected, rtol=1e-5, atol=1e-6)
    assert built(ClassificationHead(1000), 512).count_params() == 513000


def test_classifier_can_start_at_zero():
    np.testing.assert_array_equal(built(ClassificationHead(5, "zeros"))(FEATURES), np.zeros((16, 5)))


def test_bfloat16_inputs_are_taken_up_to_float32():
    for head in (built(ProjectionHead(dtype="float32")), built(ClassificationHead(5, dtype="float32"))):
        outputs = tf.nest.flatten(head(tf.cast(FEATURES, "bfloat16")))
        assert {output.dtype for output in outputs} == {tf.float32}


@pytest.mark.parametrize("head", [ProjectionHead(2, "linear", 16), ClassificationHead(7, "zeros")])
def test_config_round_trip(head):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert copy.get_config() == head.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProjectionHead(-1), "proj_layers=-1"),
        (lambda: ProjectionHead(mode="mlp"), "one of nonlinear, linear, none.* proj_mode='mlp'"),
        (lambda: ProjectionHead(out_dim=0), "proj_dim=0"),
        (lambda: ClassificationHead(0), "num_classes=0"),
        (lambda: ClassificationHead(3, "ones"), "normal, zeros.* classifier_init='ones'"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_hidden_layers_may_have_a_width_of_their_own():
    head = built(ProjectionHead(3, "nonlinear", 8, hidden_dim=40))
    endpoints = head(FEATURES, training=True)
    assert [endpoint.shape[-1] for endpoint in endpoints.values()] == [24, 40, 40, 8]
    assert {name: tuple(value.shape) for name, value in endpoints.items()} == head.compute_output_shape(
        (16, 24)
    )
    for endpoint, value in zip(endpoints.values(), twin(head, FEATURES)):
        np.testing.assert_allclose(endpoint, value, rtol=1e-3, atol=1e-4)
    assert ProjectionHead.from_config(head.get_config()).hidden_dim == 40
    with pytest.raises(InputError, match="proj_hidden_dim must be 1 or more"):
        ProjectionHead(hidden_dim=0)


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_truncated_head_is_the_beginning_of_the_whole_one(kept):
    whole = built(ProjectionHead(3, "nonlinear", 8, hidden_dim=40))
    for weight in whole.weights:
        weight.assign(weight + np.random.default_rng(1).uniform(0, 0.5, weight.shape))
    head = built(ProjectionHead(3, "nonlinear", 8, hidden_dim=40, kept_layers=kept))
    assert head.depth == kept
    values = {weight.path: weight for weight in whole.weights}
    for weight in head.weights:
        weight.assign(values[weight.path])
    expected = {name: value for name, value in whole(FEATURES).items() if int(name[-1]) <= kept}
    endpoints = head(FEATURES)
    assert list(endpoints) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(endpoints[name], value)
    assert {name: tuple(value.shape) for name, value in endpoints.items()} == head.compute_output_shape(
        (16, 24)
    )
    names = [weight.path.partition("/")[2] for weight in head.trainable_variables]
    assert ("bn2/beta" in names) == (kept >= 2)  # the middle layer is not made a last one
    assert ProjectionHead.from_config(head.get_config()).depth == kept


@pytest.mark.parametrize(
    ("arguments", "limit"), [({}, 3), ({"mode": "linear"}, 1), ({"mode": "none"}, 0), ({"num_layers": 2}, 2)]
)
@pytest.mark.parametrize("kept", [-1, 4])
def test_no_more_layers_can_be_kept_than_there_are(arguments, limit, kept):
    with pytest.raises(InputError, match=f"between 0 and {limit}.* kept_head_layers={kept}"):
        ProjectionHead(**arguments, kept_layers=kept)
