"""Fill a Keras backbone with ImageNet's weights or those of a file; a file is only ever read as arrays."""

import contextlib
import io
import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator

import h5py
import keras
import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.files import expand_home
from simclr_keras.models.backbone_layers import Standardize, StochasticDepth, leaves
from simclr_keras.models.backbone_names import PREFIX
from simclr_keras.models.backbones import DEVIATION, KerasBackbone, stock_model

IMAGENET = "imagenet"
ENDINGS = (".weights.h5", ".keras", ".h5", ".hdf5")
# A file may contain a classifier; VGG's has the most arrays, those of three dense layers.
MAX_TOP_ARRAYS = 6


def load_backbone_weights(encoder: KerasBackbone, weights: str | os.PathLike) -> None:
    """Fill the network of a built KerasBackbone, not the dense layers on top of it.

    Args:
        encoder: a KerasBackbone.
        weights: "imagenet", which Keras downloads once; or the path of a .weights.h5, .keras or (legacy) .h5 file of
            the same network of keras.applications, with or without its classifier.

    Raises:
        InputError: the weights cannot be downloaded or read, or are of another network.
    """
    record = encoder.record
    if weights == IMAGENET:
        try:
            stock = stock_model(record, record.weights_size, IMAGENET)
        except Exception as error:  # whatever the network, the disk or Keras's check of the file may raise
            raise InputError(
                f"the imagenet weights of {PREFIX}{record.name} cannot be downloaded ({one_line(error)}); give "
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
        stock = stock_model(record, record.weights_size)
        try:
            with local_copy(weights) as path:
                read_into(stock, path)
        except Exception as error:  # h5py, zipfile and Keras raise many kinds for a wrong file
            raise InputError(
                f"{weights} does not hold the weights of {PREFIX}{record.name} ({one_line(error)}); give a file of "
                f"that network as keras.applications builds it. Received: backbone_weights={weights!r}"
            ) from error
    copy(stock, encoder.base)


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


def copy(stock: keras.Model, base: keras.Model) -> None:
    """Give the weights of a model of keras.applications to its conversion."""
    sources = [layer for layer in leaves(stock) if layer.weights]
    targets = [layer for layer in leaves(base) if layer.weights and not isinstance(layer, StochasticDepth)]
    for source, target in zip(sources, targets, strict=True):
        values = [weight.numpy() for weight in source.weights]
        if isinstance(target, Standardize):
            mean, variance, _ = values  # the last one counts what it was adapted to
            # EfficientNet's published weights hold the deviation in its place, for which Keras makes up by one more
            # layer that it has with weights="imagenet" alone.
            if np.allclose(variance, DEVIATION, atol=1e-3):
                variance = np.square(variance)
            values = [mean, variance]
        for weight, value in zip(target.weights, values, strict=True):
            weight.assign(value)
