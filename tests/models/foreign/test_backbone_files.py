"""Models with a Keras backbone come back from files of every kind."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.models.backbone_names import backbone_record
from tests.models.foreign.small_backbones import (  # noqa: F401  with the fixture of short networks
    IMAGES,
    assert_same_outputs,
    create,
    shaken,
    short_applications,
    special,
    values,
)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "backbone_trainable"), [("float32", True), ("mixed_bfloat16", False)])
def test_a_keras_file_gives_the_model_back(dtype, backbone_trainable, tmp_path, monkeypatch):
    model = create(dtype=dtype, backbone_trainable=backbone_trainable)
    shaken(model.weights)
    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(keras.utils, "get_file", None)  # nothing is downloaded
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert [variable.path for variable in loaded.variables] == [variable.path for variable in model.variables]
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    assert_same_outputs(loaded, model)


@pytest.mark.slow
@special
def test_files_of_special_networks_give_the_model_back(name, tmp_path):
    size = backbone_record(f"keras:{name}").min_size
    model, other = (create(f"keras:{name}", image_size=size) for _ in range(2))
    shaken(model.weights)
    model(np.resize(IMAGES, (2, size, size, 3)), training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    expected = values(model)
    assert len(expected) == len(model.variables), "every variable has a name of its own"
    places = ("simclr/encoder/base/", "simclr/encoder/dense1/", "simclr/classifier/")
    assert all(path.startswith(places) for path in expected)
    if any("/conv2d_" in path for path in expected):
        assert any("/conv2d/" in path for path in expected), "whatever was built before"
    for copied in (loaded, other):
        found = values(copied)
        assert found.keys() == expected.keys()
        for path, value in expected.items():
            np.testing.assert_array_equal(found[path], value, err_msg=path)


@pytest.mark.slow
def test_weights_file_fills_a_new_model(tmp_path):
    model = create()
    shaken(model.weights)
    model.save_weights(tmp_path / "model.weights.h5")
    new = create()
    new.load_weights(tmp_path / "model.weights.h5")
    assert_same_outputs(new, model)
