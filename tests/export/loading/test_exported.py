"""open_export: SavedModels of ours and of others, seen through the signatures that take images."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub

from simclr_keras.errors import InputError
from simclr_keras.export.loading.exported import open_export
from tests.export.networks import CLASSES, SIZE, assert_close, images, outputs_of

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

SPEC = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")


def save(path, **signatures):
    """A SavedModel with these signatures: name -> (TensorSpec, function)."""
    module = tf.Module()
    concrete = {
        name: tf.function(call, input_signature=[spec]).get_concrete_function()
        for name, (spec, call) in signatures.items()
    }
    tf.saved_model.save(module, str(path), signatures=concrete)
    return str(path)


def mean(images):
    return {"mean": tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])}


@pytest.fixture
def carded(exported, tmp_path):
    """A copy of our export with a card."""
    path = tmp_path / "carded"
    shutil.copytree(exported, path)
    card = {"format": "simclr_keras export", "image_size": 24, "class_names": ["x", "y", "z"]}
    (path / "card.json").write_text(json.dumps(card))
    return path


class TestOurs:
    def test_every_endpoint_is_that_of_the_network(self, network, exported):
        opened, expected = open_export(exported), outputs_of(network, images())
        assert opened.endpoints == {
            "encoder": "final_avg_pool",
            **{f"proj_head_{i}": f"proj_head_{i}" for i in range(4)},
            "logits": "logits",
        }
        for name, key in opened.endpoints.items():
            assert_close(opened(images(), name), expected[key])
            assert opened.shape(name).as_list() == [None, expected[key].shape[1]]

    def test_the_output_s_own_name_will_do(self, exported):
        opened = open_export(exported)
        assert opened.find("final_avg_pool") == "encoder"
        assert_close(opened(images(), "final_avg_pool"), opened(images(), "encoder"), 0)

    def test_with_a_card_feature_maps_can_be_had(self, network, carded):
        opened, expected = open_export(carded), outputs_of(network, images())
        assert {*opened.maps} == {name for name, value in expected.items() if value.ndim == 4}
        for name, shape in opened.maps.items():
            assert_close(opened(images(), name), expected[name])
            assert shape.rank == 4

    def test_the_card_tells_size_and_classes(self, carded, exported):
        opened = open_export(carded)
        assert (opened.image_size, opened.fixed_size, opened.class_names) == (24, None, ("x", "y", "z"))
        opened = open_export(exported)
        assert (opened.image_size, opened.class_names, opened.card) == (None, CLASSES, None)

    def test_it_is_loaded_within_a_graph_too(self, exported):
        opened = open_export(exported)
        graph = tf.function(lambda x: opened(x, "encoder"))
        assert_close(graph(images()), opened(images(), "encoder"))

    def test_images_of_8_bits_are_refused(self, exported):
        with pytest.raises(InputError, match=r"divide 8-bit ones by 255\. Received: uint8"):
            open_export(exported)(np.zeros([1, SIZE, SIZE, 3], np.uint8), "encoder")

    def test_an_endpoint_it_lacks_is_named_with_those_it_has(self, exported):
        with pytest.raises(
            InputError, match=r"has no endpoint proj_head_9; it has encoder, proj_head_0, .*logits"
        ):
            open_export(exported)(images(), "proj_head_9")


class TestForeign:
    def test_outputs_of_a_signature_with_several_are_endpoints(self, tmp_path):
        path = save(tmp_path / "m", default=(SPEC, lambda x: {**mean(x), "max": tf.reduce_max(x, [1, 2])}))
        opened = open_export(path)
        assert opened.endpoints == {"mean": "mean", "max": "max"}
        np.testing.assert_allclose(opened(images(), "max"), images().max((1, 2)))

    def test_signatures_that_take_no_float_images_do_not_count(self, tmp_path):
        path = save(
            tmp_path / "m",
            encoder=(SPEC, mean),
            bytes=(
                tf.TensorSpec([None], tf.string),
                lambda x: {"n": tf.cast(tf.strings.length(x), tf.float32)},
            ),
            whole=(tf.TensorSpec([None, 8, 8, 3], tf.uint8), mean),
            vectors=(tf.TensorSpec([None, 3], tf.float32), lambda x: {"y": x}),
            gray=(tf.TensorSpec([None, 8, 8, 1], tf.float32), mean),
        )
        assert open_export(path).endpoints == {"encoder": "mean"}

    def test_the_one_size_it_takes_is_known(self, tmp_path):
        path = save(tmp_path / "m", encoder=(tf.TensorSpec([None, 20, 20, 3], tf.float32), mean))
        opened = open_export(path)
        assert (opened.image_size, opened.fixed_size) == (20, 20)

    def test_images_are_given_in_the_type_it_takes(self, tmp_path):
        path = save(tmp_path / "m", encoder=(tf.TensorSpec([None, None, None, 3], tf.float16), mean))
        found = open_export(path)(images(), "encoder")
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, images().mean((1, 2)), atol=1e-2)

    def test_a_savedmodel_of_tensorflow_1(self, tmp_path):
        with tf.Graph().as_default():
            shown = tf.compat.v1.placeholder(tf.float32, [None, 16, 16, 3])
            kernel = tf.compat.v1.get_variable("kernel", initializer=tf.eye(3))
            features = tf.reduce_mean(shown, [1, 2]) @ kernel
            with tf.compat.v1.Session() as session:
                session.run(tf.compat.v1.global_variables_initializer())
                tf.compat.v1.saved_model.simple_save(
                    session, str(tmp_path / "m"), {"images": shown}, {"features": features}
                )
        opened = open_export(tmp_path / "m")
        assert (opened.endpoints, opened.image_size) == ({"serving_default": "features"}, 16)
        np.testing.assert_allclose(opened(images(), "features"), images().mean((1, 2)), rtol=1e-5)

    def test_a_hub_handle_is_fetched(self, exported, monkeypatch):
        asked = []
        monkeypatch.setattr(tensorflow_hub, "resolve", lambda handle: asked.append(handle) or exported)
        opened = open_export("https://tfhub.dev/google/simclr/1")
        assert asked == ["https://tfhub.dev/google/simclr/1"]
        assert opened.handle == asked[0]
        assert "encoder" in opened.endpoints


class TestRefusals:
    def refused(self, path, said):
        with pytest.raises(InputError) as found:
            open_export(path, "teacher")
        assert said in str(found.value)
        assert str(found.value).count("\n") == 0
        assert "--teacher=" in str(found.value) or "--teacher." in str(found.value)

    def test_no_folder(self, tmp_path):
        self.refused(tmp_path / "none", ": no such directory; give a SavedModel that export.py wrote")

    def test_a_folder_without_a_savedmodel(self, tmp_path):
        self.refused(tmp_path, "holds no saved_model.pb")

    def test_no_signatures(self, tmp_path):
        tf.saved_model.save(tf.Module(), str(tmp_path / "m"))
        self.refused(tmp_path / "m", "has no signatures, so that nothing says what it takes and gives")

    def test_signatures_of_other_things(self, tmp_path):
        path = save(tmp_path / "m", text=(tf.TensorSpec([None], tf.string), lambda x: {"y": x}))
        self.refused(path, "has no signature that takes float images [n, height, width, 3]; it has text.")

    def test_a_cut_graph(self, exported, tmp_path):
        shutil.copytree(exported, tmp_path / "m")
        graph = tmp_path / "m" / "saved_model.pb"
        graph.write_bytes(graph.read_bytes()[:1000])
        self.refused(tmp_path / "m", "cannot be loaded")

    @pytest.mark.parametrize("text", ["{", '{"format": "simclr_keras export", "image_size": "big"}'])
    def test_a_damaged_card(self, carded, text):
        (carded / "card.json").write_text(text)
        self.refused(carded, "card.json is damaged")

    def test_a_handle_that_cannot_be_fetched(self, monkeypatch):
        def fail(handle):
            raise OSError("no\nnetwork")

        monkeypatch.setattr(tensorflow_hub, "resolve", fail)
        self.refused("https://tfhub.dev/none/1", "cannot be downloaded (no network)")

    def test_another_program_s_card_is_none_of_ours(self, carded):
        (carded / "card.json").write_text('{"format": "playing cards", "image_size": "big"}')
        assert open_export(carded).card is None
