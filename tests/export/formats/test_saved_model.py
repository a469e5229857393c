"""What is in the SavedModel, by tf.saved_model.load alone."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.export.formats import saved_model
from simclr_keras.export.formats.saved_model import write_saved_model
from simclr_keras.models.zoo import create_model
from simclr_keras.preprocess import evaluation_view
from tests.export.conftest import WEIGHT_DECAY
from tests.export.networks import SIZE, assert_close, images, make_network, outputs_of, values_of

VECTORS = {
    "encoder": "final_avg_pool",
    **{f"proj_head_{layer}": f"proj_head_{layer}" for layer in range(4)},
    "logits": "logits",
    "probabilities": "probabilities",
}


@pytest.fixture(scope="module")
def loaded_once(exported):
    return tf.saved_model.load(exported)


@pytest.fixture
def loaded(loaded_once):
    """As it was saved; a test may train it."""
    before = values_of(loaded_once.variables)
    yield loaded_once
    for variable, value in zip(loaded_once.variables, before):
        variable.assign(value)


@pytest.fixture(scope="module")
def from_bytes(network, tmp_path_factory):
    """Signatures of an export that takes encoded images too."""
    path = str(tmp_path_factory.mktemp("bytes") / "saved")
    settings = {"decode_images": True, "antialias": True, "endpoints": ("encoder", "logits", "probabilities")}
    write_saved_model(network, path, image_size=SIZE, **settings)
    loaded = tf.saved_model.load(path)
    assert not loaded.regularization_losses  # none without weight decay
    return loaded.signatures


class TestSignatures:
    @pytest.mark.slow
    def test_vectors(self, loaded, network):
        assert {*loaded.signatures} == {*VECTORS, "serving_default"}
        expected = outputs_of(network, images())
        for name, endpoint in VECTORS.items():
            outputs = loaded.signatures[name](images=tf.constant(images()))
            assert {*outputs} == {endpoint}
            assert_close(outputs[endpoint], expected[endpoint])
        outputs = loaded.signatures["serving_default"](images=tf.constant(images()))
        assert {*outputs} == {*VECTORS.values()}
        for name, value in outputs.items():
            assert_close(value, expected[name])

    @pytest.mark.slow
    def test_encoded_images(self, from_bytes, network):
        names = {"encoder", "logits", "probabilities", "serving_default"}
        assert {*from_bytes} == names | {f"{name}_from_bytes" for name in names}
        pixels = np.random.default_rng(2).integers(0, 256, (3, 40, 25, 3), np.uint8)
        encoded = [tf.io.encode_png(image).numpy() for image in pixels]
        expected = outputs_of(network, evaluation_view(pixels, SIZE, antialias=True).numpy())
        for name in ("logits", "probabilities"):
            outputs = from_bytes[f"{name}_from_bytes"](image_bytes=tf.constant(encoded))[name]
            assert_close(outputs, expected[name])

    def test_encoded_images_of_several_sizes_and_kinds(self, from_bytes):
        encoded = [
            tf.io.encode_jpeg(np.full((30, 20, 3), 200, np.uint8)).numpy(),
            tf.io.encode_png(np.full((9, 50, 1), 90, np.uint8)).numpy(),
        ]
        assert from_bytes["encoder_from_bytes"](image_bytes=encoded)["final_avg_pool"].shape == (2, 64)

    def test_an_image_without_a_batch_does_not_end_the_process(self, loaded):
        for name in ("logits", "serving_default"):
            with pytest.raises((tf.errors.InvalidArgumentError, TypeError, ValueError)):
                loaded.signatures[name](images=tf.constant(images()[0]))

    def test_a_header_that_claims_too_much_is_refused(self, from_bytes):
        file = bytearray(tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy())
        file[16:24] = (20_000).to_bytes(4, "big") * 2
        with pytest.raises(tf.errors.InvalidArgumentError, match="the limit is 178,956,970 pixels"):
            from_bytes["logits_from_bytes"](image_bytes=tf.constant([bytes(file)]))

    def test_other_bytes_are_no_black_image(self, from_bytes):
        for data in (b"", b"no image", b"\xff\xd8\xff\xe0"):
            with pytest.raises(tf.errors.InvalidArgumentError):
                from_bytes["logits_from_bytes"](image_bytes=tf.constant([data]))


class TestCall:
    @pytest.mark.parametrize("training", [False, True])
    def test_gives_all_endpoints_of_the_network(self, loaded, network, training):
        found, expected = (
            loaded(tf.constant(images()), training=training),
            outputs_of(network, images(), training),
        )
        assert {*found} == {*expected}
        for name, value in expected.items():
            assert_close(found[name], value)

    @pytest.mark.parametrize(("count", "height", "width"), [(1, SIZE, SIZE), (3, 33, 17)])
    def test_takes_any_batch_and_image_size(self, loaded, network, count, height, width):
        batch = images(count, height, width)
        assert_close(loaded(tf.constant(batch))["logits"], outputs_of(network, batch)["logits"])

    def test_training_moves_the_statistics_as_the_network_does(self, loaded, network):
        before = values_of(network.variables)
        network(images(), training=True)
        expected = values_of(network.variables)
        for variable, value in zip(network.variables, before):
            variable.assign(value)
        loaded(tf.constant(images()), training=True)
        for found, wanted in zip(loaded.variables, expected):
            assert_close(found, wanted)
        assert any((old != new).any() for old, new in zip(before, expected))

    def test_inference_leaves_every_variable_alone(self, loaded):
        before = values_of(loaded.variables)
        loaded(tf.constant(images()))
        assert all((old == new).all() for old, new in zip(before, values_of(loaded.variables)))


class TestTraining:
    def test_gradients_are_those_of_the_network(self, loaded, network):
        def gradients(call, variables):
            with tf.GradientTape() as tape:
                found = call(tf.constant(images()), training=True)
                loss = tf.reduce_sum(found["logits"] ** 2) + tf.reduce_sum(found["proj_head_3"] ** 3)
            return tape.gradient(loss, variables)

        before = values_of(network.variables)
        expected = gradients(network, [v.value for v in network.trainable_variables])
        for variable, value in zip(network.variables, before):
            variable.assign(value)
        found = gradients(loaded, loaded.trainable_variables)
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            # Rounding grows on its way back through 20 normalizations.
            assert_close(one, other, 1e-3)

    @pytest.mark.slow
    def test_every_endpoint_has_a_function_and_its_training_twin(self, loaded, network):
        before = values_of(loaded.variables)
        expected, in_training = (outputs_of(network, images(), training) for training in (False, True))
        for name in (*VECTORS, "block_group2", "initial_conv"):
            endpoint = VECTORS.get(name, name)
            assert_close(getattr(loaded, name)(tf.constant(images())), expected[endpoint])
            assert_close(getattr(loaded, f"{name}_train")(tf.constant(images())), in_training[endpoint])
            for variable, value in zip(loaded.variables, before):
                variable.assign(value)

    def test_regularization_is_half_the_decay_times_the_squares_of_each_kernel(self, loaded, network):
        kernels = [v.numpy() for v in network.trainable_variables if v.path.endswith("kernel")]
        expected = [0.5 * WEIGHT_DECAY * np.sum(np.square(kernel, dtype=np.float64)) for kernel in kernels]
        np.testing.assert_allclose([loss() for loss in loaded.regularization_losses], expected, rtol=1e-5)


class TestContents:
    def test_variables_are_stored_once(self, exported, network):
        stored = tf.train.load_checkpoint(f"{exported}/variables/variables").get_variable_to_shape_map()
        sizes = [
            np.prod(shape, dtype=int)
            for name, shape in stored.items()
            if "VARIABLE_VALUE" in name and "save_counter" not in name
        ]
        assert (len(sizes), sum(sizes)) == (len(network.variables), network.count_params())

    def test_variables_have_the_networks_order_names_and_values(self, loaded, network):
        assert [v.name.split(":")[0] for v in loaded.variables] == [v.path for v in network.variables]
        assert len({v.name for v in loaded.variables}) == len(network.variables)
        assert all((a.numpy() == b.numpy()).all() for a, b in zip(loaded.variables, network.variables))

    def test_class_names_are_an_asset_of_a_line_each(self, loaded, exported):
        assert pathlib.Path(loaded.class_names.asset_path.numpy().decode()).read_text() == "ant\nbee\ncat\n"
        assert os.listdir(f"{exported}/assets") == ["class_names.txt"]

    def test_a_class_name_with_a_line_break(self, tmp_path):
        path = saved_model._write_names(("a\nb", "c", "ü d"), tmp_path)
        assert pathlib.Path(path).read_text(encoding="utf-8") == "a b\nc\nü d\n"


class TestNetworks:
    @pytest.mark.slow
    def test_a_shortened_head_without_classes(self, tmp_path):
        model = make_network(num_classes=None, kept_head_layers=1)
        write_saved_model(model, str(tmp_path / "s"), image_size=SIZE, class_names=None)
        loaded = tf.saved_model.load(str(tmp_path / "s"))
        assert {*loaded.signatures} == {"encoder", "proj_head_0", "proj_head_1", "serving_default"}
        assert not hasattr(loaded, "class_names")

    @pytest.mark.slow
    def test_an_online_probe_leaves_the_network_alone_after_loading_too(self, tmp_path):
        model = make_network(stop_gradient=True)
        write_saved_model(model, str(tmp_path / "s"), image_size=SIZE, endpoints=["logits"])
        loaded = tf.saved_model.load(str(tmp_path / "s"))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(loaded(tf.constant(images()), training=True)["logits"] ** 2)
        gradients = tape.gradient(loss, loaded.trainable_variables)
        moved = [v.name for v, g in zip(loaded.trainable_variables, gradients) if np.any(g)]
        assert moved == ["simclr/classifier/kernel:0", "simclr/classifier/bias:0"]

    @pytest.mark.slow
    def test_a_backbone_with_custom_gradients_trains_after_loading(self, tmp_path):
        model = make_network("keras:EfficientNetB0", image_size=32)
        write_saved_model(model, str(tmp_path / "s"), image_size=32, endpoints=["logits"])
        loaded = tf.saved_model.load(str(tmp_path / "s"))
        batch = images(2, 32, 32)
        assert_close(loaded(tf.constant(batch))["logits"], outputs_of(model, batch)["logits"])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(loaded(tf.constant(batch), training=True)["logits"] ** 2)
        gradients = tape.gradient(loss, loaded.trainable_variables)
        assert not any(gradient is None for gradient in gradients)

    @pytest.mark.slow
    def test_the_largest_kinds_of_blocks_agree(self, tmp_path):
        model = make_network("r50_0.125x_sk1", se_ratio=0.25)
        write_saved_model(model, str(tmp_path / "s"), image_size=SIZE, endpoints=["logits"])
        loaded = tf.saved_model.load(str(tmp_path / "s"))
        # As a graph: TensorFlow joins convolution and normalization there, which costs eager agreement a digit.
        expected = tf.function(lambda batch: model(batch))(tf.constant(images()))
        for name, value in expected.items():
            assert_close(loaded(tf.constant(images()))[name], value)

    @pytest.mark.slow
    def test_other_precisions_are_refused(self, tmp_path):
        for dtype in ("mixed_bfloat16", "float64"):
            model = create_model("r18_0.125x_sk0", image_size=SIZE, dtype=dtype)
            with pytest.raises(InputError, match="only float32 networks are exported"):
                write_saved_model(model, str(tmp_path / "s"), image_size=SIZE)
