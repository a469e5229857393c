"""The encoder: sizes, endpoints, stems, widths, precision, replicas, tracing for TPUs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models import resnet
from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.blocks import SelectiveKernel, SqueezeExcite
from simclr_keras.models.resnet import ResNet, scaled
from simclr_keras.models.zoo import PUBLISHED, create_model, parse_name
from tests import tpu_tracing

# Encoder parameters (moving statistics included) of the release: depth -> width 1, 2, 3, each plain and SK.
RELEASED_PARAMETERS = {
    50: (23561152, 35277408, 94013312, 140428864, 211356480, 315677600),
    101: (42605504, 64786144, 169981824, 257377984, 382128960, 578628704),
    152: (58295232, 89119584, 232556416, 353752896, 522783552, 795235360),
    200: (62800832, 96191328, 250480512, 381525824, 563039040, 857340960),
    18: (11190464, 11209824, 44704128, 44798144, 100540992, 100764960),
    34: (21306048, 21325408, 85136768, 85230784, 191492160, 191716128),
}


@pytest.fixture
def shapes_only():
    """Variables get no values, so that the largest networks cost no memory."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)


def images(count, size, dtype="float32"):
    return tf.cast(np.random.default_rng(0).uniform(0, 1, (count, size, size, 3)), dtype)


@pytest.mark.slow
def test_parameters_are_those_of_the_release(shapes_only):
    for depth, counts in RELEASED_PARAMETERS.items():
        for index, expected in enumerate(counts):
            width, selective_kernel = 1 + index // 2, index % 2 == 1
            # Every width of basic blocks and of bottlenecks; then every depth.
            if depth in (18, 50) or index == 1:
                encoder = ResNet(depth, width, selective_kernel)
                encoder.build((None, 224, 224, 3))
                assert encoder.count_params() == expected


def test_published_records_are_those_of_the_release():
    for name, record in PUBLISHED.items():
        depth, width, selective_kernel = parse_name(name)
        parameters = RELEASED_PARAMETERS[depth][2 * int(width) - 2 + selective_kernel]
        assert record.params == round(parameters / 1e6), name  # Table 1 gives millions


def test_squeeze_excitation_has_the_parameters_of_the_release(shapes_only):
    for depth, expected in [(18, 11541024), (50, 26092144)]:
        encoder = ResNet(depth, se_ratio=0.25)
        encoder.build((None, 224, 224, 3))
        assert encoder.count_params() == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "size", "sizes"),
    [
        ({"depth": 18}, 64, (32, 16, 16, 8, 4, 2)),
        ({"depth": 50, "width": 0.25, "selective_kernel": True}, 65, (33, 17, 17, 9, 5, 3)),
        (
            {"depth": 18, "width": 0.25, "small_images": True, "selective_kernel": True},
            32,
            (32, 32, 32, 16, 8, 4),
        ),
        ({"depth": 50, "width": 0.5, "small_images": True, "se_ratio": 0.25}, 9, (9, 9, 9, 5, 3, 2)),
    ],
)
def test_endpoints_have_their_names_and_shapes(arguments, size, sizes):
    encoder = ResNet(**arguments)
    encoder.build((None, size, size, 3))
    endpoints = encoder(images(2, size))
    groups = [f"block_group{i}" for i in range(1, 5)]
    assert list(endpoints) == ["initial_conv", "initial_max_pool", *groups, "final_avg_pool"]
    assert [endpoint.shape[1] for endpoint in list(endpoints.values())[:-1]] == list(sizes)
    promised = encoder.compute_output_shape((2, size, size, 3))
    assert {name: tuple(endpoint.shape) for name, endpoint in endpoints.items()} == promised
    pooled = np.mean(endpoints["block_group4"], axis=(1, 2))
    np.testing.assert_allclose(endpoints["final_avg_pool"], pooled, rtol=1e-4, atol=1e-6)


def test_fractional_widths_round_to_multiples_of_eight():
    assert [scaled(64, width) for width in (0.01, 0.25, 0.3, 0.4, 1, 1.5, 3)] == [8, 16, 16, 24, 64, 96, 192]
    assert scaled(50, 2) == 100


def test_residual_branches_start_at_zero():
    """A fresh network computes its shortcuts alone (gamma of the last BN of every branch is 0)."""
    encoder = ResNet(50, 0.25)
    encoder.build((None, 64, 64, 3))
    for group in encoder.block_groups:
        for block in group.blocks:
            assert not np.any(block.bn3.gamma)
            assert np.all(np.asarray(block.bn1.gamma) == 1)
        last = group.blocks[-1]
        x = tf.nn.relu(tf.random.normal([2, 4, 4, last.out_channels]))
        np.testing.assert_array_equal(last(x, training=True), x)


@pytest.mark.slow
def test_paths_are_unique_and_say_where_they_are():
    model = create_model("r50_0.25x_sk1", num_classes=3, image_size=64, se_ratio=0.25)
    paths = [weight.path for weight in model.weights]
    assert len(set(paths)) == len(paths)
    for path in (
        "simclr/encoder/stem/conv1/kernel",
        "simclr/encoder/block_group2/block1/shortcut_conv/kernel",
        "simclr/encoder/block_group4/block3/sk/squeeze_bn/moving_variance",
        "simclr/encoder/block_group1/block1/se/reduce/bias",
        "simclr/projection_head/dense3/kernel",
        "simclr/projection_head/bn1/gamma",
        "simclr/classifier/bias",
    ):
        assert path in paths
    again = create_model("r50_0.25x_sk1", num_classes=3, image_size=64, se_ratio=0.25)
    assert [weight.path for weight in again.weights] == paths


def selective_kernel_twin(layer, x):
    """Li et al. 2019 by hand, with two streams stacked and a softmax over them."""
    streams = tf.nn.relu(layer.bn(tf.nn.conv2d(x, layer.conv.kernel, 1, "SAME")))
    streams = np.stack(np.split(np.asarray(streams), 2, axis=-1))
    features = streams.sum(0).mean((1, 2))
    squeezed = features @ np.asarray(layer.squeeze_conv.kernel)[0, 0]
    squeezed = np.maximum(np.asarray(layer.squeeze_bn(tf.constant(squeezed))), 0)
    logits = np.stack(np.split(squeezed @ np.asarray(layer.mix_conv.kernel)[0, 0], 2, axis=-1))
    shares = np.exp(logits) / np.exp(logits).sum(0)
    return (streams * shares[:, :, None, None]).sum(0)


def test_selective_kernel_is_the_slow_twin():
    layer = SelectiveKernel(16)
    layer.build((None, 5, 5, 6))
    x = tf.random.normal([3, 5, 5, 6], seed=1)
    np.testing.assert_allclose(layer(x), selective_kernel_twin(layer, x), rtol=1e-4, atol=1e-5)


def test_squeeze_excitation_is_the_slow_twin():
    layer = SqueezeExcite(4)
    layer.build((None, 5, 5, 16))
    layer.reduce.bias.assign(np.linspace(-1, 1, 4))
    layer.expand.bias.assign(np.linspace(-1, 1, 16))
    x = np.random.default_rng(0).normal(size=(3, 5, 5, 16)).astype("float32")
    hidden = np.maximum(x.mean((1, 2)) @ np.asarray(layer.reduce.kernel) + np.asarray(layer.reduce.bias), 0)
    logits = hidden @ np.asarray(layer.expand.kernel) + np.asarray(layer.expand.bias)
    expected = x / (1 + np.exp(-logits))[:, None, None]
    np.testing.assert_allclose(layer(tf.constant(x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r18_0.25x_sk0", "r50_0.25x_sk1"])
def test_bfloat16_computes_the_same_with_coarser_numbers(name):
    """Evaluation outputs; the encoder's activations are bfloat16, its mean and the heads float32."""
    exact = create_model(name, num_classes=5, image_size=64, se_ratio=0.25)
    coarse = create_model(name, num_classes=5, image_size=64, se_ratio=0.25, dtype="mixed_bfloat16")
    coarse.set_weights(exact.get_weights())
    expected, endpoints = exact(images(4, 64)), coarse(images(4, 64))
    for endpoint, values in endpoints.items():
        spatial = endpoint.startswith(("initial", "block"))
        assert values.dtype == (tf.bfloat16 if spatial else tf.float32)
        difference = np.asarray(tf.cast(values, "float32")) - np.asarray(expected[endpoint])
        assert np.linalg.norm(difference) < 0.03 * np.linalg.norm(expected[endpoint])
    assert all(weight.dtype == "float32" for weight in coarse.weights)


def test_a_frozen_group_does_not_move():
    encoder = ResNet(18, 0.25, small_images=True)
    encoder.build((None, 32, 32, 3))
    encoder.block_group1.trainable = False
    frozen = [weight.numpy() for weight in encoder.block_group1.weights]
    moving = encoder.block_group2.blocks[0].bn1.moving_mean.numpy()
    encoder(images(4, 32), training=True)
    for weight, value in zip(encoder.block_group1.weights, frozen):
        np.testing.assert_array_equal(weight, value)
    assert np.any(encoder.block_group2.blocks[0].bn1.moving_mean.numpy() != moving)
    assert not encoder.block_group1.trainable_variables


def training_step(model, x):
    """Outputs and gradients of a loss that every layer takes part in, summed over the examples."""
    with tf.GradientTape() as tape:
        endpoints = model(x, training=True)
        loss = tf.reduce_sum(endpoints["proj_head_3"] ** 3) + tf.reduce_sum(endpoints["logits"] ** 2)
    return endpoints["proj_head_3"], tape.gradient(loss, [v.value for v in model.trainable_variables])


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [2], indirect=True)  # 4: tests/models/test_batch_norm.py
def test_replicas_together_are_one_device(mirrored, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 18, (2, 1, 1, 1))
    arguments = {"num_classes": 3, "image_size": 32, "dtype": "float64"}
    alone = create_model("r18_0.25x_sk0", **arguments)
    rng = np.random.default_rng(1)
    for weight in alone.trainable_variables:
        # Away from the start, where the branches are silent.
        weight.assign_add(rng.normal(0, 0.05, weight.shape))
    with mirrored.scope():
        model = create_model("r18_0.25x_sk0", **arguments)
    model.set_weights(alone.get_weights())
    x = images(8, 32, "float64")
    shares = mirrored.experimental_distribute_values_from_function(
        lambda context: tf.split(x, mirrored.num_replicas_in_sync)[context.replica_id_in_sync_group]
    )
    outputs, gradients = tf.function(lambda x: mirrored.run(training_step, args=(model, x)), autograph=False)(
        shares
    )
    expected_outputs, expected_gradients = training_step(alone, x)
    local = mirrored.experimental_local_results
    np.testing.assert_allclose(tf.concat(local(outputs), 0), expected_outputs, rtol=1e-7, atol=1e-9)
    for gradient, expected in zip(gradients, expected_gradients):
        tolerance = 1e-9 * max(1, np.abs(expected).max())
        np.testing.assert_allclose(sum(local(gradient)), expected, rtol=1e-6, atol=tolerance)
    for weight, expected in zip(model.non_trainable_variables, alone.non_trainable_variables):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("r18_0.25x_sk1", "mixed_bfloat16"),
        pytest.param("r50_0.25x_sk1", "float32", marks=pytest.mark.slow),
    ],
)
def test_a_training_step_traces_for_tpus(name, dtype, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 50, (2, 1, 1, 1))
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        model = create_model(name, num_classes=3, image_size=64, se_ratio=0.25, dtype=dtype)

    def step(x):
        outputs, gradients = training_step(model, x)
        return tf.reduce_sum(outputs) + tf.add_n([tf.reduce_sum(gradient) for gradient in gradients])

    found = tpu_tracing.findings(tpu_tracing.trace(strategy, step, tf.TensorSpec([4, 64, 64, 3])))
    assert not found.without_kernel
    assert not found.without_shape
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNormalization)]
    assert sum(found.collectives.values()) == 2 * len(layers)


def test_bad_arguments_are_named():
    for arguments, message in [
        ({"depth": 51}, "one of 18, 34, 50, 101, 152, 200.* depth=51"),
        ({"depth": 50, "width": 0}, "above 0.* width=0"),
        ({"depth": 50, "width": -1}, "above 0.* width=-1"),
        ({"depth": 50, "se_ratio": 1.5}, "se_ratio=1.5"),
    ]:
        with pytest.raises(InputError, match=message):
            ResNet(**arguments)


@pytest.mark.slow
def test_options_of_pytorch_are_kept(tmp_path):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    torch_like = {"max_pool_padding": "torch", "pixel_mean": mean, "pixel_std": std}
    images = np.random.default_rng(0).uniform(size=(1, 40, 40, 3)).astype(np.float32)
    model = create_model("r18_0.125x_sk0", image_size=40, **torch_like)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = model(images)["final_avg_pool"]
    np.testing.assert_array_equal(loaded(images)["final_avg_pool"], expected)
    stem = model.encoder.stem((images - np.float32(mean)) / np.float32(std))
    np.testing.assert_allclose(model(images)["initial_conv"], stem["initial_conv"], rtol=1e-6, atol=1e-6)
    for arguments in (
        {"max_pool_padding": "valid"},
        {"pixel_mean": mean},
        {**torch_like, "pixel_std": (1, 1)},
    ):
        with pytest.raises(InputError, match="Received"):
            create_model("r18_0.125x_sk0", image_size=40, **arguments)
