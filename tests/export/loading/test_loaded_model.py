"""LoadedModel: SavedModels of export.py and of other makers as functions of images."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub

from simclr_keras.errors import InputError
from simclr_keras.export.endpoints import SERVING
from simclr_keras.export.loading.loaded_model import load_saved_model
from tests.as_windows import link
from tests.export.foreign import SPEC, Listed, write_foreign
from tests.export.networks import CLASSES, SIZE, assert_close, images, outputs_of

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


def save(path, **signatures):
    """Write a SavedModel with these signatures: name -> (TensorSpec, function)."""
    concrete = {
        name: tf.function(call, input_signature=[spec]).get_concrete_function()
        for name, (spec, call) in signatures.items()
    }
    tf.saved_model.save(tf.Module(), str(path), signatures=concrete)
    return load_saved_model(path)


def save_call(path, call, spec=SPEC, **signatures):
    """Write a SavedModel with this `__call__`."""
    module = tf.Module()
    module.__call__ = tf.function(call)
    module.__call__.get_concrete_function(spec)
    concrete = {
        name: tf.function(call, input_signature=[spec]).get_concrete_function()
        for name, call in signatures.items()
    }
    tf.saved_model.save(Listed(module, []), str(path), signatures=concrete or None)
    return load_saved_model(path)


def mean(images):
    return {"mean": tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])}


@pytest.fixture(scope="module")
def loaded(exported):
    return load_saved_model(exported, "--model")


@pytest.fixture
def write_card(tmp_path):
    """A function that writes a card into a folder with a small SavedModel, and returns that folder."""
    write_foreign(tmp_path / "saved")

    def write(text):
        (tmp_path / "saved/card.json").write_text(text)
        return tmp_path / "saved"

    return write


def test_every_endpoint_is_that_of_the_network(network, loaded):
    expected = outputs_of(network, images())
    heads = [f"proj_head_{i}" for i in range(4)]
    assert [*loaded.endpoints][:6] == ["encoder", *heads, "logits"]
    assert {endpoint.key for endpoint in loaded.endpoints.values()} == {*expected}
    for name, endpoint in loaded.endpoints.items():
        assert_close(loaded(images(), name), expected[endpoint.key])
        assert endpoint.shape.is_compatible_with(expected[endpoint.key].shape)


def test_endpoints_by_the_key_of_their_output(loaded):
    assert loaded.find("final_avg_pool") == "encoder"
    with pytest.raises(
        InputError, match=r"has no endpoint proj_head_9; it has encoder, proj_head_0, .*logits"
    ):
        loaded.find("proj_head_9")


def test_within_a_graph(loaded):
    graph = tf.function(lambda x: loaded(x, "final_avg_pool"))
    assert_close(graph(images()), loaded(images(), "encoder"))


def test_8_bit_images_are_refused(loaded):
    with pytest.raises(InputError, match=r"divide 8-bit ones by 255\. Received: uint8"):
        loaded(np.zeros([1, SIZE, SIZE, 3], np.uint8), "encoder")


def test_handles_that_cannot_be_loaded_are_refused(exported, tmp_path):
    link(tmp_path / "ex [v1]", exported)
    for handle, words in (
        ("http://tfhub.dev/model/1", "is not encrypted.*give an https:// address"),
        (f"{tmp_path}/ex [v1]", "path=.*contains one of .*give a path without them"),
    ):
        with pytest.raises(InputError, match=words):
            load_saved_model(handle)


def test_class_names_of_the_asset_without_a_card(loaded):
    assert (loaded.image_size, loaded.fixed_size, loaded.class_names, loaded.card) == (
        None,
        None,
        CLASSES,
        {},
    )


def test_size_and_classes_of_the_card(write_card):
    card = {"format": "simclr_keras export", "image_size": 24, "class_names": ["x", "y"], "licence": "MIT"}
    loaded = load_saved_model(write_card(json.dumps(card)))
    assert (loaded.image_size, loaded.fixed_size, loaded.class_names) == (24, None, ("x", "y"))
    assert loaded.card["license"] == "MIT"  # cards of earlier versions spell it licence


def test_card_of_another_program_is_ignored(write_card):
    assert load_saved_model(write_card('{"format": "playing cards", "image_size": "big"}')).card == {}


def test_damaged_cards_are_refused(write_card):
    damage = {
        "image_size": "8",
        "class_names": "cat",
        "architecture": {"name": 3},
        "results": "none",
        "stage": 3,
        "checkpoint": 3,
    }
    texts = {
        name: json.dumps({"format": "simclr_keras export", name: value}) for name, value in damage.items()
    }
    for name, text in {**texts, "Expecting": "{"}.items():
        with pytest.raises(InputError, match=rf"card.json is damaged \({name}.*\); export the run again\.$"):
            load_saved_model(write_card(text)).card  # noqa: B018


def test_fingerprint_changes_with_the_weights(tmp_path):
    module = write_foreign(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    module.kernel.assign_add(tf.ones([3, 4]))
    tf.saved_model.save(Listed(module, [module.kernel], [module.mean]), str(tmp_path / "other"))
    one, copy, other = (load_saved_model(tmp_path / name).fingerprint for name in ("one", "copy", "other"))
    assert one == copy != other


def test_outputs_of_a_signature_with_several(tmp_path):
    loaded = save(tmp_path / "m", default=(SPEC, lambda x: {**mean(x), "max": tf.reduce_max(x, [1, 2])}))
    assert {*loaded.endpoints} == {"mean", "max"}
    np.testing.assert_allclose(loaded(images(), "max"), images().max((1, 2)))


def test_signatures_of_other_inputs_are_left_out(tmp_path):
    lengths = lambda x: {"n": tf.cast(tf.strings.length(x), tf.float32)}  # noqa: E731
    loaded = save(
        tmp_path / "m",
        encoder=(SPEC, mean),
        bytes=(tf.TensorSpec([None], tf.string), lengths),
        whole=(tf.TensorSpec([None, 8, 8, 3], tf.uint8), mean),
        vectors=(tf.TensorSpec([None, 3], tf.float32), lambda x: {"y": x}),
        gray=(tf.TensorSpec([None, 8, 8, 1], tf.float32), mean),
    )
    assert {name: endpoint.key for name, endpoint in loaded.endpoints.items()} == {"encoder": "mean"}


def test_fixed_size_and_float16(tmp_path):
    loaded = save(tmp_path / "m", encoder=(tf.TensorSpec([None, SIZE, SIZE, 3], tf.float16), mean))
    assert (loaded.image_size, loaded.fixed_size) == (SIZE, SIZE)
    assert loaded(images(), "encoder").dtype == tf.float32
    np.testing.assert_allclose(loaded(images(), "encoder"), images().mean((1, 2)), atol=1e-2)


def test_saved_model_of_tensorflow_1(tmp_path):
    with tf.Graph().as_default():
        shown = tf.compat.v1.placeholder(tf.float32, [None, 16, 16, 3])
        kernel = tf.compat.v1.get_variable("kernel", initializer=tf.eye(3))
        features = tf.reduce_mean(shown, [1, 2]) @ kernel
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.saved_model.simple_save(
                session, str(tmp_path / "m"), {"images": shown}, {"features": features}
            )
    loaded = load_saved_model(tmp_path / "m")
    assert ([*loaded.endpoints], loaded.image_size) == ([SERVING], 16)
    np.testing.assert_allclose(loaded(images(), "features"), images().mean((1, 2)), rtol=1e-5)


def test_logits_of_any_maker(tmp_path):
    def outputs(name):
        return lambda x: {name: 2 * mean(x)["mean"], "features": mean(x)["mean"]}

    double = {"x": lambda x: 2 * mean(x)["mean"], "features": lambda x: {"features": mean(x)["mean"]}}
    cases = {
        "logits": save_call(tmp_path / "a", outputs("logits")),
        "logits_sup": save_call(tmp_path / "b", outputs("logits_sup")),
        "output": save_call(tmp_path / "c", double["x"]),
        # a call without a name beside signatures without logits
        "output ": save_call(tmp_path / "d", double["x"], served=double["features"]),
        # a signature with several outputs, and one called logits, before the call
        "logits ": save(tmp_path / "e", **{SERVING: (SPEC, outputs("logits"))}),
        "logits  ": save_call(
            tmp_path / "f", double["features"], logits=lambda x: {"scores": 2 * mean(x)["mean"]}
        ),
    }
    for name, loaded in cases.items():
        assert loaded.find_logits() == name.strip()
        np.testing.assert_allclose(loaded(images(), name.strip()), 2 * images().mean((1, 2)), rtol=1e-5)
    assert save_call(tmp_path / "g", double["features"]).find_logits() is None


def test_saved_model_of_the_simclr_release(tmp_path):
    """Without signatures, with `trainable` by position, and logits_sup."""

    def call(inputs, trainable):
        pooled = tf.reduce_mean(inputs, [1, 2])
        return {"final_avg_pool": pooled, "logits_sup": 2 * pooled + (100.0 if trainable else 0.0)}

    module = tf.Module()
    module.__call__ = tf.function(call)
    for trainable in (False, True):
        module.__call__.get_concrete_function(SPEC, trainable)
    tf.saved_model.save(module, str(tmp_path / "released"))
    loaded = load_saved_model(tmp_path / "released")
    assert [*loaded.endpoints] == ["final_avg_pool", "logits_sup"]
    np.testing.assert_allclose(loaded(images(), loaded.find_logits()), 2 * images().mean((1, 2)), rtol=1e-5)


def test_hub_handle_is_downloaded(exported, monkeypatch):
    handles = []
    monkeypatch.setattr(tensorflow_hub, "resolve", lambda handle: handles.append(handle) or exported)
    loaded = load_saved_model("https://tfhub.dev/google/simclr/1")
    assert handles == ["https://tfhub.dev/google/simclr/1"]
    assert "encoder" in loaded.endpoints


class TestRefusals:
    def assert_refused(self, path, message):
        with pytest.raises(InputError) as error:
            load_saved_model(path, "--teacher")
        assert message in str(error.value)
        assert str(error.value).startswith("--teacher=")
        assert "\n" not in str(error.value)

    def test_folders_without_a_saved_model(self, tmp_path):
        self.assert_refused(
            tmp_path / "none", ": no such directory; give a SavedModel that simclr export wrote"
        )
        self.assert_refused(
            tmp_path, "contains no saved_model.pb; give a SavedModel that simclr export wrote"
        )
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "config.json").write_text("{}")
        self.assert_refused(
            tmp_path,
            f"is a run directory, not a SavedModel; export it with simclr export --run={tmp_path}",
        )

    @pytest.mark.parametrize("pattern", ["saved_model.pb", "variables/*.index"])
    def test_cut_files(self, tmp_path, pattern):
        write_foreign(tmp_path / "cut")
        (file,) = (tmp_path / "cut").glob(pattern)
        file.write_bytes(file.read_bytes()[:40])
        self.assert_refused(tmp_path / "cut", "cut is a SavedModel that cannot be loaded")

    def test_handle_that_cannot_be_downloaded(self, monkeypatch):
        def fail(handle):
            raise OSError("no\nnetwork")

        monkeypatch.setattr(tensorflow_hub, "resolve", fail)
        self.assert_refused("https://tfhub.dev/none/1", "cannot be downloaded (no network)")
