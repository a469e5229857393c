"""The graph of a SavedModel as text, so that the config of a layer can carry it."""

import base64
import io
import os
import tempfile
import zipfile

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.export.loading.find_saved_model import GRAPHS

VARIABLES = "variables"
MAX_BYTES = 2 * 1024**3  # unpacked; the graph of the largest network here has 20 MB
# A damaged archive: cut, of an unknown compression, encrypted, or with names that no disk accepts.
_DAMAGE = (ValueError, TypeError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError)
_NO_VALUES = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/")


def pack(folder: str, num_variables: int) -> str:
    """Return the graph and assets of a SavedModel as text.

    The layer around it keeps the values of its variables. They are in the text only if the SavedModel stores more than
    those, such as tables.
    """
    names = [name for name in GRAPHS if tf.io.gfile.exists(f"{folder}/{name}")] + _files(folder, "assets")
    if _num_stored(folder) != num_variables:
        names += _files(folder, VARIABLES)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), _read(folder, name), zipfile.ZIP_DEFLATED)
    return base64.b64encode(buffer.getvalue()).decode()


def unpack(text: str) -> tuple[tempfile.TemporaryDirectory, bool]:
    """Return the folder that `pack` read, and whether it contains the values of the variables.

    Raises:
        InputError: the text is damaged.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(text, validate=True)))
        if sum(part.file_size for part in archive.infolist()) > MAX_BYTES:
            raise ValueError("it unpacks to more than 2 GB")
        folder = tempfile.TemporaryDirectory(prefix="saved_model_")
        for name in archive.namelist():
            _write(folder.name, name, archive.read(name))
    except _DAMAGE as error:
        raise InputError(
            f"the SavedModel in the .keras file is damaged ({error}); save the model that contains it again."
        ) from error
    return folder, os.path.isdir(os.path.join(folder.name, VARIABLES))


def has_graph(folder: str, text: str) -> bool:
    """Return whether a folder contains the graph in the text."""
    try:
        graphs = {name: _read(folder, name) for name in GRAPHS if tf.io.gfile.exists(f"{folder}/{name}")}
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(text, validate=True))) as archive:
            return bool(graphs) and all(archive.read(name) == graph for name, graph in graphs.items())
    except (*_DAMAGE, tf.errors.OpError):  # an address, or a folder without permission
        return False


def _write(folder, name, data):
    """Write one file of a SavedModel; raise ValueError if its name leads outside the folder."""
    parts = name.split("/")
    inside = len(parts) == 1 or parts[0] in ("assets", VARIABLES)
    if not inside or {"", ".", ".."} & {*parts} or any("\\" in part or ":" in part for part in parts):
        raise ValueError(f"it contains {name!r}")
    path = os.path.join(folder, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def _files(folder, part):
    tree = tf.io.gfile.walk(f"{folder}/{part}")
    return [
        os.path.relpath(os.path.join(parent, name), folder) for parent, _, names in tree for name in names
    ]


def _num_stored(folder):
    prefix = f"{folder}/{VARIABLES}/{VARIABLES}"
    if not tf.io.gfile.exists(prefix + ".index"):
        return 0
    return sum(not name.startswith(_NO_VALUES) for name, _ in tf.train.list_variables(prefix))


def _read(folder, name):
    with tf.io.gfile.GFile(f"{folder}/{name}", "rb") as file:
        return file.read()
