"""Distillation from SavedModels of other makers, without a card; which logits they have is in test_loaded_model.py."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.preprocess import evaluation_view
from tests.export.foreign import SPEC, Listed
from tests.training.tiny import TINY, begin, configure, run

pytestmark = [pytest.mark.usefixtures("tiny"), pytest.mark.slow]


class Classifier(tf.Module):
    """Mean colors to logits or features of three classes."""

    def __init__(self, name):
        super().__init__()
        self.kernel = tf.Variable(tf.reshape(tf.range(9.0), [3, 3]) - 4, name="kernel")
        self.output = name

    @tf.function
    def __call__(self, images, training=False):
        return {self.output: tf.reduce_mean(images, [1, 2]) @ self.kernel + (100.0 if training else 0.0)}


def write_classifier(path, spec=SPEC, name="logits_sup"):
    module = Classifier(name)
    for training in (False, True):
        module.__call__.get_concrete_function(spec, training=training)
    tf.saved_model.save(Listed(module, [module.kernel]), str(path))
    return module


@pytest.fixture
def config(stripes, tmp_path):
    """A function that makes the config of a distillation from the SavedModel in the test's folder."""
    return lambda **settings: configure(
        "distill",
        tmp_path / "run",
        **{"teacher": str(tmp_path / "teacher"), "dataset": stripes, "model": TINY, "epochs": 1, **settings},
    )


def test_it_teaches_in_inference_mode(config, tmp_path, stripes, monkeypatch):
    module = write_classifier(tmp_path / "teacher")
    images = evaluation_view(np.load(stripes.removeprefix("npz:"))["x_train"], 8)
    begun = begin(config(image_size=8), monkeypatch)
    logits = begun.learner._ask_teacher(images)["logits"]
    np.testing.assert_allclose(logits, module(images)["logits_sup"], rtol=1e-5)
    assert begun.learner.temperature == 1.0
    assert any("distilling a SavedModel (" in line for line in begun.lines)


def test_it_teaches_a_whole_run(config, tmp_path):
    write_classifier(tmp_path / "teacher")
    (ancestor,) = run(config(image_size=8)).result["ancestors"]
    assert [ancestor[name] for name in ("run", "mode", "dataset")] == [
        str(tmp_path / "teacher"),
        "unknown",
        "unknown",
    ]


def test_images_of_its_fixed_size(config, tmp_path, monkeypatch):
    write_classifier(tmp_path / "teacher", tf.TensorSpec([None, 10, 10, 3]))
    with pytest.raises(InputError, match=r"--image_size=8, but .*teacher takes images of 10; leave"):
        run(config(image_size=8))
    begun = begin(config(), monkeypatch)
    assert next(iter(begun.batches(0, 1)))["views"].shape[2:4] == (10, 10)


def test_a_teacher_without_logits_is_refused(config, tmp_path):
    write_classifier(tmp_path / "teacher", name="features")
    with pytest.raises(
        InputError, match=r"teacher has no logits\. Its endpoints: features; give the export of"
    ):
        run(config(image_size=8))
