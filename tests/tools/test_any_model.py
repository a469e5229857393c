"""open_model: a run, its export and its .keras file are one and the same."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.tools.any_model import open_model
from tests.earlier_runs import DIGITS
from tests.tools.models_to_run import SIZE

IMAGES = np.random.default_rng(0).uniform(size=(3, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def opened(models):
    return {name: open_model(models / name) for name in ("run", "export", "model.keras")}


@pytest.mark.slow
def test_all_three_give_the_same_vectors(opened):
    for endpoint in ("encoder", "proj_head_0", "proj_head_1", "logits"):
        expected = opened["run"].call(IMAGES, endpoint).numpy()
        assert np.abs(expected).max() > 0
        for name in ("export", "model.keras"):
            found = opened[name].call(IMAGES, endpoint).numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_what_is_known_of_each(opened):
    assert [m.image_size for m in opened.values()] == [SIZE, None, None]
    assert not any(m.fixed_size for m in opened.values())
    assert {model.class_names for model in opened.values()} == {DIGITS}
    assert opened["run"].names_of(3) == ("0", "1", "2")


def test_the_representation_is_found_by_both_its_names_and_by_none(opened):
    for model in opened.values():
        assert model.find() == model.find("encoder") == model.find("final_avg_pool") == "encoder"


def test_vectors_are_told_from_maps(opened):
    assert opened["export"].vectors == [*opened["run"].vectors, "probabilities"]
    assert opened["run"].vectors == ["encoder", "proj_head_0", "proj_head_1", "logits"]
    assert opened["run"].shapes["block_group2"].rank == 4


def test_the_fingerprint_is_that_of_the_weights(opened, models):
    assert opened["run"].fingerprint == opened["model.keras"].fingerprint
    assert open_model(models / "unlabeled").fingerprint != opened["run"].fingerprint


def test_an_endpoint_it_lacks_is_named_with_those_it_has(opened):
    with pytest.raises(InputError, match=r"run has no endpoint proj_head_2; it has encoder, .*, logits\."):
        opened["run"].find("proj_head_2")


def test_logits_of_the_release_are_found(opened):
    shapes = {name.replace("logits", "logits_sup"): shape for name, shape in opened["run"].shapes.items()}
    assert dataclasses.replace(opened["run"], shapes=shapes).find("logits") == "logits_sup"


def test_no_classifier_is_said_plainly(models):
    with pytest.raises(
        InputError, match=r"has no classifier: no endpoint logits, only encoder, .*; give a fine-tuned"
    ):
        open_model(models / "unlabeled").find("logits")


def test_sizes(opened):
    assert opened["run"].size() == SIZE
    assert opened["run"].size(16) == 16
    with pytest.raises(InputError, match="the image size it was trained on is unknown; give --image_size"):
        opened["model.keras"].size()


@pytest.mark.parametrize("given", ["", "/model.keras"])
def test_a_keras_export_brings_its_card(models, tmp_path, given):
    shutil.copy(models / "model.keras", tmp_path / "model.keras")
    card = {"format": "simclr_keras export", "image_size": 12, "class_names": list("abcdefghij")}
    (tmp_path / "card.json").write_text(json.dumps(card))
    found = open_model(f"{tmp_path}{given}")
    assert (found.image_size, found.class_names) == (12, tuple("abcdefghij"))


def test_any_keras_model_of_images_will_do(tmp_path, capsys):
    inputs = keras.Input((10, 10, 3))
    outputs = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "mean.keras")
    found = open_model(tmp_path / "mean.keras")
    assert "mean.keras gets pixels in [0, 1]; if it takes others" in capsys.readouterr().out
    # The seed of Dropout is new in every process.
    assert open_model(tmp_path / "mean.keras").fingerprint == found.fingerprint
    assert (found.image_size, found.fixed_size, found.find()) == (10, 10, "output")
    images = np.ones([2, 10, 10, 3], np.float32)
    np.testing.assert_allclose(found.call(images, "output"), images.mean((1, 2)))
    with pytest.raises(InputError, match="takes only images of 10 pixels; leave --image_size out"):
        found.size(12)


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("{}/none", "no such file or directory; give a run directory, an export, a .keras file or"),
            ("", "--model is empty"),
            ("{}/file.txt", "file.txt is not a .keras file"),
            ("{}/empty", "is neither a run directory (it has no config.json) nor an export"),
            ("{}/cut.keras", "cut.keras cannot be loaded"),
            ("{}/litert", "is an export to LiteRT; give one to SavedModel or Keras"),
            ("{}/plain", "has no signature and no __call__ that takes float images [n, height, width, 3]"),
            ("{}/vectors.keras", "does not take images [n, h, w, 3]"),
            ("{}/text", "config.json is damaged"),
        ],
    )
    def test_one_line_says_what_is_wrong(self, tmp_path, path, said):
        (tmp_path / "file.txt").write_text("x")
        (tmp_path / "cut.keras").write_bytes(b"PK\3\4")
        for name in ("empty", "litert", "text"):
            (tmp_path / name).mkdir()
        (tmp_path / "litert" / "model.tflite").write_bytes(b"x")
        (tmp_path / "text" / "config.json").write_text("{")
        tf.saved_model.save(tf.Module(), str(tmp_path / "plain"))
        inputs = keras.Input((4,))
        keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "vectors.keras")
        with pytest.raises(InputError) as found:
            open_model(path.format(tmp_path))
        assert said in str(found.value)
        assert "\n" not in str(found.value)

    @pytest.mark.slow
    def test_a_momentum_network_is_that_of_a_run(self, tmp_path):
        (tmp_path / "model.keras").write_bytes(b"PK")
        for path in (f"{tmp_path}/model.keras", str(tmp_path), "https://tfhub.dev/simclr/1"):
            with pytest.raises(InputError, match=f"{path} is not a run directory.*leave --use_ema out"):
                open_model(path, use_ema=True)
        with pytest.raises(InputError, match="no such file"):
            open_model(f"{tmp_path}/none", use_ema=True)
