"""Keras backbones small enough for tests, and what their tests share."""

import keras
import numpy as np
import pytest
from keras.src.applications import convnext, efficientnet, mobilenet_v3

from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.zoo import create_model

SMALL = "keras:MobileNet"


def noise(*shape):
    """Images of noise, the same for every test whatever ran before."""
    return np.random.default_rng(0).uniform(0, 1, shape).astype("float32")


IMAGES = noise(4, 32, 32, 3)
LABELS = np.array([0, 1, 2, 0])
# What is special: numbered names, factors left out of the normalization; a nested network; layers of our own.
special = pytest.mark.parametrize(
    "name",
    [
        "MobileNet",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("InceptionV3", "ConvNeXtTiny", "EfficientNetB0")
        ),
    ],
)


@pytest.fixture(scope="module", autouse=True)
def short_applications():
    """Take most blocks out of ConvNeXtTiny, EfficientNet and MobileNetV3, for a module that imports this fixture."""
    small = {"depths": [1, 1, 1, 1], "projection_dims": [8, 16, 32, 64]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(convnext.MODEL_CONFIGS, "tiny", convnext.MODEL_CONFIGS["tiny"] | small)
        patch.setattr(efficientnet, "DEFAULT_BLOCKS_ARGS", efficientnet.DEFAULT_BLOCKS_ARGS[:2])
        block = mobilenet_v3._inverted_res_block

        def first_blocks(x, *arguments):
            return block(x, *arguments) if arguments[-1] <= 2 else x

        patch.setattr(mobilenet_v3, "_inverted_res_block", first_blocks)
        yield


def create(name=SMALL, **arguments):
    keras.utils.set_random_seed(0)
    defaults = {"num_classes": 3, "image_size": 32, "dense_layers": (16,), "proj_mode": "none"}
    return create_model(name, **defaults | arguments)


def copy_weights(source, target):
    """Copy the weights of a network of keras.applications to another build of it, of which one may be an encoder's."""
    ours, theirs = (
        [w for w in model.weights if not w.path.endswith(("/draws", "/count"))] for model in (source, target)
    )
    for one, other in zip(ours, theirs, strict=True):
        other.assign(one)


def shaken(weights):
    """Gives moving statistics and offsets other values than those of the start, but tame ones."""
    rng = np.random.default_rng(1)
    for weight in weights:
        if "float" in str(weight.dtype):
            weight.assign(
                weight.numpy() * rng.uniform(0.95, 1.05, weight.shape) + rng.uniform(0, 1e-3, weight.shape)
            )


def settle(model, images):
    """Makes the moving statistics those of these images: without, signals die out in a fresh network."""
    norms = [layer for layer in model.encoder.base.layers if isinstance(layer, BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)
    for norm in norms:
        norm.momentum = 0.9


def assert_same_outputs(first, second):
    first, second = first(IMAGES), second(IMAGES)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def values(layer):
    return {variable.path: variable.numpy() for variable in layer.variables}
