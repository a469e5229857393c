"""A SavedModel as text, so that the config of a layer can carry it."""

import base64
import io
import os
import tempfile
import zipfile

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.export.loading.locate import GRAPHS

VARIABLES = "variables"
MOST_BYTES = 2 * 1024**3  # unpacked; a graph of the largest network here has 20 MB
# Of an archive that is no good: cut, of a kind Python does not know, encrypted, with names no disk takes.
_DAMAGE = (ValueError, TypeError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError)
_NO_VALUES = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/")


def pack(folder, num_variables):
    """Returns graph and assets of a SavedModel as text.

    The values of its variables belong to whoever carries it; they are in the text only where the SavedModel stores
    more than those, such as tables.

    Args:
        folder: local, or any that tf.io.gfile knows.
        num_variables: how many variables the layer around it keeps.
    """
    names = [name for name in GRAPHS if tf.io.gfile.exists(f"{folder}/{name}")] + _files(folder, "assets")
    if _num_stored(folder) != num_variables:
        names += _files(folder, VARIABLES)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), _read(folder, name), zipfile.ZIP_DEFLATED)
    return base64.b64encode(buffer.getvalue()).decode()


def unpack(text):
    """Returns what `pack` took in, as a TemporaryDirectory, and whether the values of the variables are there.

    Raises:
        InputError: the text is damaged.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(text, validate=True)))
        if sum(part.file_size for part in archive.infolist()) > MOST_BYTES:
            raise ValueError("it unpacks to more than 2 GB")
        folder = tempfile.TemporaryDirectory(prefix="saved_model_")
        for name in archive.namelist():
            _write(folder.name, name, archive.read(name))
    except _DAMAGE as error:
        raise InputError(
            f"the SavedModel in the file is damaged ({error}); save the model that holds it again."
        ) from error
    return folder, os.path.isdir(os.path.join(folder.name, VARIABLES))


def _write(folder, name, data):
    """Writes one file of a SavedModel under a folder. Raises ValueError where the name leads anywhere else."""
    parts = name.split("/")
    inside = len(parts) == 1 or parts[0] in ("assets", VARIABLES)
    if not inside or {"", ".", ".."} & {*parts} or any("\\" in part or ":" in part for part in parts):
        raise ValueError(f"it holds {name!r}")
    path = os.path.join(folder, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def holds(folder, text):
    """Whether a folder holds the graph that was packed."""
    try:
        found = {name: _read(folder, name) for name in GRAPHS if tf.io.gfile.exists(f"{folder}/{name}")}
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(text, validate=True))) as archive:
            return bool(found) and all(archive.read(name) == graph for name, graph in found.items())
    except (*_DAMAGE, tf.errors.OpError):  # an address, or a place that is closed
        return False


def _files(folder, part):
    found = tf.io.gfile.walk(f"{folder}/{part}")
    return [os.path.relpath(os.path.join(place, name), folder) for place, _, names in found for name in names]


def _num_stored(folder):
    prefix = f"{folder}/{VARIABLES}/{VARIABLES}"
    if not tf.io.gfile.exists(prefix + ".index"):
        return 0
    return sum(not name.startswith(_NO_VALUES) for name, _ in tf.train.list_variables(prefix))


def _read(folder, name):
    with tf.io.gfile.GFile(f"{folder}/{name}", "rb") as file:
        return file.read()
