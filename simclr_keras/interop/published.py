"""The published SimCLRv2 weights as our models: TF1 checkpoints, TF2 training checkpoints and TF2 SavedModels."""

import dataclasses
import math
import os

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.interop.categories import Category, read_name, read_path
from simclr_keras.interop.fetching.addresses import (
    HUGGING_FACE,
    PUBLISHED,
    closest,
    find_published,
    looks_published,
    published_name,
)
from simclr_keras.interop.fetching.cache import fetch_published
from simclr_keras.interop.fetching.hugging_face import fetch_repository
from simclr_keras.interop.network import Network, match_network
from simclr_keras.interop.source import Source
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.models.zoo import create_model


def load_published(
    path: str | os.PathLike, name: str | None = None, *, ema: bool = False, head_layer: int | None = None
) -> SimCLRModel:
    """Return a network of the SimCLRv2 release as a float32 SimCLRModel.

    The model maps float [0, 1] images [n, h, w, 3] to a dict of endpoints, see `SimCLRModel`. Its name is taken from
    the path, such as .../finetuned_1pct/r50_1x_sk0/..., or from `name`. Every key in the file is used, or left out for
    a known reason (momentum, queue, step), and every shape is checked.

    The classifier's place in the projection head follows from its input width. If several layers have that width, the
    category in the path or in `name` decides (pretrained, finetuned_1pct, finetuned_10pct, finetuned_100pct,
    supervised, distill_1pct, distill_10pct).

    A published name, such as "r50_1x_sk0" (pretrained) or "finetuned_1pct/r50_2x_sk1", is downloaded once from the
    release's public bucket, unless a file or folder of that name exists; see docs/published_weights.md.

    Source: the weights of arXiv 2006.10029, https://github.com/google-research/simclr.

    >>> from simclr_keras import load_published
    >>> model = load_published("simclrv2/finetuned_1pct/r50_1x_sk0")
    >>> model.classifier.num_classes, model.head_layer
    (1000, 1)

    Args:
        path: a published name, also as published:NAME; or the prefix of a TF1 or TF2 checkpoint, a folder with one,
            or a TF2 SavedModel, local or any that tf.io.gfile reads; or hf://USER/REPO with one of these.
        name: a model, such as "r50_1x_sk0"; a category; or both, such as "finetuned_1pct/r50_1x_sk0". It overrides
            the path.
        ema: whether to take the moving average of a TF1 checkpoint that was pretrained with one. If the average has
            no classifier, the model has none.
        head_layer: layer of the projection head under the classifier; needed if neither its width nor a category
            decides.

    Raises:
        InputError: one line: the file is missing, damaged or cannot be downloaded, the network's name is missing or
            unknown, or keys or shapes differ from those of that network.
    """
    return open_published(path, name, ema=ema, head_layer=head_layer).load()


@dataclasses.dataclass(frozen=True)
class Published:
    """Weights of the release whose keys and shapes have been checked.

    Attributes:
        source: Source. network: Network. category: Category or None. ema: whether it is the moving average.
    """

    source: Source
    network: Network
    category: Category | None
    ema: bool = False

    @property
    def architecture(self) -> dict:
        """Return the arguments of `create_model`."""
        return self.network.architecture

    def shapes(self) -> dict[str, tuple]:
        """Return the shape of every variable by its path within the model."""
        return {path: self._ours(path, self.source.shapes[key]) for path, key in self.network.keys.items()}

    def read(self, path: str) -> np.ndarray:
        """Return the array of a variable by its path within the model. Raises InputError if it cannot be read."""
        value = self.source.read(self.network.keys[path])
        return value.reshape(self._ours(path, value.shape))

    @staticmethod
    def _ours(path, shape):
        # Squeeze-excitation's 1x1 convolutions are dense layers here.
        return shape[2:] if "/se/" in path and len(shape) == 4 else shape

    @property
    def encoder_parameters(self) -> int:
        """Return the number of the encoder's parameters, moving statistics included."""
        keys = (key for path, key in self.network.keys.items() if path.startswith("encoder/"))
        return sum(math.prod(self.source.shapes[key]) for key in keys)

    def load(self) -> SimCLRModel:
        """Return the SimCLRModel, in float32.

        Raises:
            InputError: an array cannot be read.
        """
        model = create_model(**self.architecture)
        for variable in model.variables:
            variable.assign(self.read(variable.path.partition("/")[2]))
        return model


def open_published(
    path: str | os.PathLike, name: str | None = None, *, ema: bool = False, head_layer: int | None = None
) -> Published:
    """Return the Published at a path, before any array is read; see `load_published`."""
    category, model = read_name(name)
    source = Source(_fetched(path))
    category_in_path, model_in_path = read_path(source.path)
    category, model = category or category_in_path, model or model_in_path
    if model is None:
        raise InputError(
            f"{source.path} has no model name in its path; give the network's name (--name, name=), such as "
            "r50_1x_sk0 or finetuned_1pct/r50_1x_sk0."
        )
    network = match_network(
        source.form, source.shapes, source.path, model, ema=ema, head_layer=head_layer, category=category
    )
    return Published(source, network, category, ema)


def _fetched(path):
    """Return a path of files that are there, or the local folder into which a published name was downloaded."""
    address = os.fspath(path)
    if address.startswith(PUBLISHED):
        return fetch_published(published_name(address))
    if address.startswith(HUGGING_FACE):
        return fetch_repository(address)
    if looks_published(address) and not tf.io.gfile.exists(address):
        name = find_published(address)
        if name is None:
            raise InputError(f"{address} does not exist and is not a published name: {closest(address)}")
        return fetch_published(name)
    return path
