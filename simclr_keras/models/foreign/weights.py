"""Fill a network with ImageNet's weights or those of a file; a file is only ever read as arrays."""

import contextlib
import io
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator

import h5py
import keras
import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.files import expand_home
from simclr_keras.models.foreign.encoder import DEVIATION

IMAGENET = "imagenet"
ENDINGS = (".weights.h5", ".keras", ".h5", ".hdf5")
# A file may contain a classifier; VGG's has the most arrays, those of three dense layers.
MAX_TOP_ARRAYS = 6


def load_backbone_weights(
    network: keras.Model, weights: str | os.PathLike, name: str, published_network: Callable[[], keras.Model]
) -> None:
    """Fill a network as keras.applications or keras-hub builds it.

    Args:
        network: to fill.
        weights: "imagenet", which Keras downloads once; or the path of a .weights.h5, .keras or (legacy) .h5 file of
            the same network, with or without its classifier.
        name: of the network, for messages.
        published_network: returns the network with ImageNet's weights.

    Raises:
        InputError: the weights cannot be downloaded or read, or are of another network.
    """
    if weights == IMAGENET:
        try:
            network.set_weights(published_network().get_weights())
        except Exception as error:  # whatever the network, the disk or Keras's check of the file may raise
            raise InputError(
                f"the imagenet weights of {name} cannot be downloaded ({one_line(error)}); give "
                f"backbone_weights a file of them, or none. Received: backbone_weights={weights!r}"
            ) from error
    else:
        weights = expand_home(weights)
        if not weights.endswith(ENDINGS):
            raise InputError(
                f"backbone_weights must be None, 'imagenet' or a file ending in {', '.join(ENDINGS)}. "
                f"Received: backbone_weights={weights!r}"
            )
        if not tf.io.gfile.exists(weights) or tf.io.gfile.isdir(weights):
            raise InputError(f"there is no such weights file. Received: backbone_weights={weights!r}")
        try:
            with local_copy(weights) as path:
                read_into(network, path)
        except Exception as error:  # h5py, zipfile and Keras raise many kinds for a wrong file
            raise InputError(
                f"{weights} does not hold the weights of {name} ({one_line(error)}); give a file of "
                f"that network as its package builds it. Received: backbone_weights={weights!r}"
            ) from error
    for layer in network.layers:
        # EfficientNet's published weights hold the deviation in place of the variance, for which Keras makes up by one
        # more layer that it has with weights="imagenet" alone.
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            variance = layer.adapt_variance.numpy()
            if np.shape(variance) == (3,) and np.allclose(variance, DEVIATION, atol=1e-3):
                layer.adapt_variance.assign(np.square(variance))


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Yield a path that h5py can open; a remote file is copied for so long."""
    if "://" not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as directory:
        copied = os.path.join(directory, os.path.basename(path))
        tf.io.gfile.copy(path, copied)
        yield copied


def read_into(stock: keras.Model, path: str) -> None:
    """Fill a model of keras.applications from a file; raises some exception if it does not fit.

    Of a .keras file the weights alone are read: the rest of it could make Keras run code.
    """
    legacy = not path.endswith((".weights.h5", ".keras"))
    with opened(path) as file:
        top = file["model_weights"] if legacy and "model_weights" in file else file
        count = sum(count_arrays(group) for name, group in members(top) if name != "optimizer")
        names = {
            name.decode() if isinstance(name, bytes) else name for name in top.attrs.get("layer_names", ())
        }
    # Keras reads what it looks for and does not mind the rest, and of some that it misses it only warns.
    expected = len(stock.weights)
    most = (expected if legacy else len(stock.variables)) + MAX_TOP_ARRAYS
    if not expected <= count <= most:
        raise ValueError(f"the file has {count} arrays, the network {expected}")
    layers = {layer.name for layer in stock.layers if layer.weights}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock.load_weights(path, **({"by_name": True} if legacy and layers < names else {}))


@contextlib.contextmanager
def opened(path: str) -> Iterator[h5py.File]:
    if not path.endswith(".keras"):
        with h5py.File(path, "r") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content, "r") as file:
        yield file


def members(group: h5py.Group) -> Iterator[tuple]:
    """Yield names and members of a group, none of which may lie in another file."""
    for name in group:
        member = group.get(name, getlink=True)
        if not isinstance(member, h5py.HardLink):
            raise ValueError(f"{name} is a link")
        member = group[name]
        if isinstance(member, h5py.Dataset) and (member.is_virtual or member.external):
            raise ValueError(f"{name} lies in another file")
        yield name, member


def count_arrays(member: h5py.Group | h5py.Dataset) -> int:
    if isinstance(member, h5py.Dataset):
        return 1
    return sum(count_arrays(inner) for _, inner in members(member))
