"""A .keras file gives the network back, and is gone where it does not."""

import keras
import numpy as np
import pytest

from simclr_keras.errors import TrainingError
from simclr_keras.export.formats import keras_file
from simclr_keras.export.formats.keras_file import write_keras
from tests.export.networks import CLASSES, images, make_network, outputs_of, values_of


def test_what_is_loaded_is_the_network(network, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "class_names", CLASSES)
    found = write_keras(network, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.class_names == CLASSES
    expected = outputs_of(network, images())
    for name, values in outputs_of(loaded, images()).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, err_msg=name)
    assert len(values_of(loaded.trainable_variables)) == len(values_of(network.trainable_variables))
    assert found == {"file": "model.keras", "tolerance": 1e-5, "difference": 0.0, "images": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("r18_0.125x_sk0", {"num_classes": None, "proj_mode": "none"}),
        ("keras:MobileNet", {"image_size": 32, "dense_layers": (8,)}),
    ],
)
def test_networks_of_all_kinds_are_written(name, arguments, tmp_path):
    assert write_keras(make_network(name, **arguments), tmp_path / "model.keras")["difference"] <= 1e-5


@pytest.mark.slow
def test_a_file_with_another_weight_is_refused_and_gone(network, tmp_path, monkeypatch):
    load = keras.models.load_model

    def load_worse(*arguments, **options):
        model = load(*arguments, **options)
        model.encoder.block_group3.variables[0].assign_add(model.encoder.block_group3.variables[0] * 1e-2)
        return model

    monkeypatch.setattr(keras_file.keras.models, "load_model", load_worse)
    with pytest.raises(
        TrainingError, match=r"^model.keras: \w+ of 2 images .* more than 1e-05; it was not written.$"
    ):
        write_keras(network, tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())
