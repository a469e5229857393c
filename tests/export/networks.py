"""A small network that has been through something: statistics away from 0 and 1, classes, a head of three layers."""

import contextlib
import os

import numpy as np
import pytest
from keras.src.applications import efficientnet

from simclr_keras.models import resnet
from simclr_keras.models.zoo import create_model

SIZE = 16
CLASSES = ("ant", "bee", "cat")
SHORT_EFFICIENTNET = efficientnet.DEFAULT_BLOCKS_ARGS[:2]


def shorten(patch, depths=(18, 50)):
    """Take most blocks out of EfficientNet and of ResNets of these depths, whose tracing and loading takes long."""
    for depth in depths:
        patch.setitem(resnet.BLOCKS, depth, (2, 1, 1, 1))
    patch.setattr(efficientnet, "DEFAULT_BLOCKS_ARGS", SHORT_EFFICIENTNET)


def make_network(name="r18_0.125x_sk0", **arguments):
    """A built, shortened network with random statistics and weights, the same at every call."""
    arguments = {"num_classes": len(CLASSES), "image_size": SIZE, "proj_dim": 8} | arguments
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        model = create_model(name, **arguments)
    random = np.random.default_rng(0)
    for variable in model.variables:
        values = variable.numpy()
        if not variable.path.endswith("kernel") and values.dtype.kind == "f":
            variable.assign(random.uniform(0.5, 1.5, values.shape))
        elif variable.path.endswith("kernel"):
            variable.assign(random.normal(size=values.shape) * (2 / np.prod(values.shape[:-1])) ** 0.5)
    return model


def images(count=4, height=SIZE, width=SIZE):
    """float32 [count, height, width, 3] in [0, 1]."""
    return np.random.default_rng(1).uniform(size=(count, height, width, 3)).astype(np.float32)


def values_of(variables):
    return [variable.numpy() for variable in variables]


def outputs_of(model, batch, training=False):
    """{endpoint: array} of a model, whose variables stay as they are, and the softmax of its logits."""
    before = values_of(model.variables)
    found = {name: value.numpy() for name, value in model(batch, training=training).items()}
    for variable, value in zip(model.variables, before):
        variable.assign(value)
    if "logits" in found:
        exponentials = np.exp(found["logits"] - found["logits"].max(axis=1, keepdims=True))
        found["probabilities"] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return found


def assert_close(found, expected, tolerance=1e-5):
    """Both arrays agree within the tolerance, in units of the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@contextlib.contextmanager
def quiet(path):
    """Send what is written to the screen, also by C++, to a file; it must stay empty."""
    screens = {number: os.dup(number) for number in (1, 2)}
    with open(path, "wb") as file:
        for number in screens:
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            for number, screen in screens.items():
                os.dup2(screen, number)
                os.close(screen)
    assert path.read_bytes() == b""
