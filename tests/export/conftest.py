"""One network and one SavedModel of it for all tests."""

import pytest
from tensorflow.python.framework import ops

from simclr_keras.export.formats.saved_model import write_saved_model
from tests.export.networks import CLASSES, SIZE, make_network, shorten

WEIGHT_DECAY = 1e-2


@pytest.fixture(scope="module", autouse=True)
def short_networks():
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        yield


@pytest.fixture(scope="module", autouse=True)
def forgotten_gradients():
    """TensorFlow keeps the gradient of every loaded network for good, 100 MB each; the suite would need 10 GB."""
    registry = ops.gradient_registry._registry
    before = {*registry}
    yield
    for name in [name for name in registry if name.startswith("CustomGradient-") and name not in before]:
        del registry[name]


@pytest.fixture(scope="session")
def network():
    """A float32 SimCLRModel; whoever changes its variables puts them back."""
    return make_network()


@pytest.fixture(scope="session")
def exported(network, tmp_path_factory):
    """Path of its SavedModel, with classes and L2 terms of 1e-2."""
    path = str(tmp_path_factory.mktemp("exported") / "saved")
    write_saved_model(network, path, image_size=SIZE, class_names=CLASSES, weight_decay=WEIGHT_DECAY)
    return path
