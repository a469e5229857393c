"""Distillation from SavedModels that others wrote, without a card: their logits are found and asked as they want."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.export.endpoints import SERVING
from simclr_keras.preprocess import evaluation_view
from tests.export.foreign import SPEC, Listed
from tests.training.tiny import TINY, begin, configure, run

pytestmark = [pytest.mark.usefixtures("tiny"), pytest.mark.slow]


class Classifier(tf.Module):
    """A network as others write them: mean colors to logits, returned in one way or another."""

    def __init__(self, give, classes=3):
        super().__init__()
        self.kernel = tf.Variable(tf.reshape(tf.range(3.0 * classes), [3, classes]) - 4, name="kernel")
        self.give = give

    def logits(self, images):
        return tf.reduce_mean(images, [1, 2]) @ self.kernel

    @tf.function
    def __call__(self, images, training=False):
        return self.give(self.logits(images))


def foreign(path, give, spec=SPEC, classes=3):
    module = Classifier(give, classes)
    module.__call__.get_concrete_function(spec, training=False)
    tf.saved_model.save(Listed(module, [module.kernel]), str(path))
    return module


class Released(tf.Module):
    """As the SavedModels of the SimCLR release: without signatures, told `trainable` by position, logits_sup."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.reshape(tf.range(9.0), [3, 3]) - 4)

    @tf.function
    def __call__(self, inputs, trainable):
        pooled = tf.reduce_mean(inputs, [1, 2])
        return {"final_avg_pool": pooled, "logits_sup": pooled @ self.kernel + (100.0 if trainable else 0.0)}


def asked(begun, images):
    return begun.learner._ask_teacher(images)["logits"]


@pytest.fixture
def config(stripes, tmp_path):
    """Makes the config of a distillation of a SavedModel in the test's folder."""
    return lambda name, **settings: configure(
        "distill",
        tmp_path / "run",
        **{"teacher": str(tmp_path / name), "dataset": stripes, "model": TINY, "epochs": 1, **settings},
    )


@pytest.fixture(scope="module")
def images(stripes):
    return evaluation_view(np.load(stripes.removeprefix("npz:"))["x_train"], 8)


@pytest.mark.parametrize(
    "give",
    [
        lambda logits: {"logits": logits, "features": logits - 1},
        lambda logits: {"logits_sup": logits, "features": logits - 1},
        lambda logits: logits,
    ],
    ids=["logits", "logits_sup", "bare"],
)
def test_a_saved_model_of_others_teaches_by_its_call(config, tmp_path, images, monkeypatch, give):
    module = foreign(tmp_path / "foreign", give)
    settings = config("foreign", image_size=8)
    begun = begin(settings, monkeypatch)
    np.testing.assert_allclose(asked(begun, images), module.logits(images), rtol=1e-5)
    assert begun.learner.temperature == 1.0
    assert any("distilling a SavedModel (" in line for line in begun.lines)


def test_a_saved_model_of_others_teaches_a_whole_run(config, tmp_path):
    foreign(tmp_path / "foreign", lambda logits: logits)
    found = run(config("foreign", image_size=8)).result["ancestors"]
    assert len(found) == 1
    assert (found[0]["run"], found[0]["mode"], found[0]["dataset"]) == (
        str(tmp_path / "foreign"),
        "unknown",
        "unknown",
    )


def test_a_saved_model_as_the_release_wrote_them_teaches_in_inference_mode(
    config, tmp_path, images, monkeypatch
):
    module = Released()
    for trainable in (False, True):
        module.__call__.get_concrete_function(SPEC, trainable)
    tf.saved_model.save(module, str(tmp_path / "released"))
    begun = begin(config("released", image_size=8), monkeypatch)
    expected = module(images, False)["logits_sup"]
    np.testing.assert_allclose(asked(begun, images), expected, rtol=1e-5)


def test_the_signature_logits_goes_before_the_call(config, tmp_path, images, monkeypatch):
    module = Classifier(lambda logits: {"features": logits})
    module.__call__.get_concrete_function(SPEC, training=False)
    signature = tf.function(lambda images: {"scores": 2 * module.logits(images)}, input_signature=[SPEC])
    tf.saved_model.save(module, str(tmp_path / "signed"), signatures={"logits": signature})
    begun = begin(config("signed", image_size=8), monkeypatch)
    np.testing.assert_allclose(asked(begun, images), 2 * module.logits(images), rtol=1e-5)


def test_images_of_the_one_size_that_it_takes(config, tmp_path, monkeypatch):
    foreign(tmp_path / "fixed", lambda logits: logits, tf.TensorSpec([None, 10, 10, 3]))
    with pytest.raises(InputError, match=r"--image_size=8, but .*fixed takes images of 10; leave"):
        run(config("fixed", image_size=8))
    begun = begin(config("fixed"), monkeypatch)
    assert next(iter(begun.batches(0, 1)))["views"].shape[2:4] == (10, 10)


def test_serving_default_alone_is_enough(config, tmp_path, images, monkeypatch):
    module = Classifier(lambda logits: logits)
    signature = tf.function(
        lambda images: {"logits": module.logits(images), "other": images}, input_signature=[SPEC]
    )
    holder = tf.train.Checkpoint(kernel=module.kernel)
    tf.saved_model.save(holder, str(tmp_path / "served"), signatures={SERVING: signature})
    begun = begin(config("served", image_size=8), monkeypatch)
    np.testing.assert_allclose(asked(begun, images), module.logits(images), rtol=1e-5)
