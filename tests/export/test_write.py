"""An export as a whole: the arithmetic of its comparison, its class names, the lines it prints."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.config.export import KERAS, LITERT
from simclr_keras.errors import TrainingError
from simclr_keras.export.formats import keras_file, litert
from simclr_keras.export.write import write_export
from tests.export.networks import CLASSES, SIZE
from tests.export.test_card import ABOUT


def write(network, out, kind, **arguments):
    """Write an export of this format; return the lines it prints."""
    lines = []
    about = {**ABOUT, "class_names": list(CLASSES), "image_size": SIZE, "weight_decay": 0.0}
    write_export(network, str(out), about, formats=(kind,), say=lines.append, **arguments)
    return lines


def test_tf32_is_off_while_a_file_is_compared(network, tmp_path, monkeypatch):
    is_enabled = tf.config.experimental.tensor_float_32_execution_enabled
    settings = []

    def compare(network, exported, batches, tolerance, name):
        settings.append(is_enabled())
        raise TrainingError("it differs")

    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: network)
    monkeypatch.setattr(keras_file, "compare", compare)
    before = is_enabled()
    with pytest.raises(TrainingError, match="it differs"):
        write(network, tmp_path / "out", KERAS)
    assert (settings, is_enabled()) == ([False], before)
    assert before  # TensorFlow's default, or the test would show nothing


@pytest.mark.slow
def test_class_names_lie_beside_a_phone_file_whose_line_is_about_angles(network, tmp_path, monkeypatch):
    int8 = {"file": "model_int8.tflite", "difference": 2.5e-4, "tolerance": 0.02, "images": 16}
    int8 |= {"quantization": "int8", "similarity_about_mean": 0.99}
    monkeypatch.setattr(
        litert,
        "write_litert",
        lambda *_, representative=None, **__: (
            {"file": "model.tflite", **int8, "quantization": None} if representative is None else int8
        ),
    )
    images = np.zeros((16, SIZE, SIZE, 3), np.float32)
    lines = write(network, tmp_path / "out", LITERT, representative=images)
    assert "within" not in lines[0]
    assert "mean cosine similarity 0.9998 with the network's vectors" in lines[0]
    assert (tmp_path / "out/class_names.txt").read_text() == "ant\nbee\ncat\n"
    readme = (tmp_path / "out/README.md").read_text()
    assert "    0  ant\n    1  bee\n    2  cat\n" in readme
    assert "In `model_int8.tflite`, apply it to the logits yourself." in readme
    write(network, tmp_path / "out", LITERT, overwrite=True, endpoints=("encoder",))
    assert not (tmp_path / "out/class_names.txt").exists()
    assert "## Classes" not in (tmp_path / "out/README.md").read_text()
