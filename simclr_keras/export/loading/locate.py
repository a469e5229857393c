"""Where a SavedModel is: a folder, local or remote, or an address that tensorflow_hub downloads from."""

import tensorflow as tf

from simclr_keras.errors import InputError, one_line

RIGHT = "give a SavedModel that export.py wrote"
GRAPHS = ("saved_model.pb", "saved_model.pbtxt")


def is_export(path):
    """Whether a local or remote folder holds a SavedModel."""
    return any(tf.io.gfile.exists(f"{path}/{name}") for name in GRAPHS)


def is_hub_handle(path):
    return path.startswith(("https://", "http://"))


def find(handle, what="path"):
    """Returns the folder of a SavedModel.

    Args:
        handle: folder, or an address that tensorflow_hub downloads from.
        what: name of the argument or flag that gave it, for messages.

    Raises:
        InputError: one line: there is no SavedModel.
    """
    folder = str(handle)
    try:
        if is_hub_handle(folder):
            folder = _downloaded(folder, what)
        if is_export(folder):
            return folder
        there = tf.io.gfile.exists(folder)
    except tf.errors.OpError as error:
        raise InputError(f"{what}={handle} cannot be looked at ({one_line(error)}); give another.") from error
    if not there:
        raise InputError(f"{what}={handle}: no such directory; {RIGHT}.")
    if tf.io.gfile.exists(f"{folder}/config.json") and tf.io.gfile.exists(f"{folder}/checkpoints"):
        raise InputError(
            f"{what}={handle} is a run directory, not a SavedModel; write one with python export.py --run={handle}."
        )
    raise InputError(f"{what}={handle} is not a SavedModel: it holds no {GRAPHS[0]}; {RIGHT}.")


def _downloaded(handle, what):
    try:
        import tensorflow_hub as hub
    except ImportError as error:
        raise InputError(
            f'{what}={handle} is downloaded by tensorflow_hub, which is missing: pip install "simclr_keras[cpu]".'
        ) from error
    try:
        return hub.resolve(handle)
    except Exception as error:  # of the network, of the address, of the archive
        raise InputError(
            f"{what}={handle} cannot be downloaded ({one_line(error)}); give a folder, or another address."
        ) from error
