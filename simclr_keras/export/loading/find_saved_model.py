"""Find the folder of a SavedModel: local, remote, or downloaded by tensorflow_hub."""

import tensorflow as tf

from simclr_keras import packages
from simclr_keras.config.output_paths import check_no_pattern
from simclr_keras.errors import InputError, one_line
from simclr_keras.files import expand_home
from simclr_keras.runs.run_files import is_run_dir

REMEDY = "give a SavedModel that simclr export wrote"
GRAPHS = ("saved_model.pb", "saved_model.pbtxt")


def is_saved_model(path: str) -> bool:
    """Return whether a local or remote folder contains a SavedModel."""
    return any(tf.io.gfile.exists(f"{path}/{name}") for name in GRAPHS)


def is_hub_handle(path: str) -> bool:
    return path.startswith(("https://", "http://"))


def find_saved_model(handle: str, argument: str = "path") -> str:
    """Return the folder of a SavedModel from a folder or an address that tensorflow_hub downloads.

    An InputError names the argument or flag that gave it if there is no SavedModel.
    """
    folder = expand_home(handle)
    if folder.startswith("http://"):
        raise InputError(
            f"{argument}={handle} is not encrypted, so others could replace the SavedModel; give an https:// address."
        )
    try:
        if is_hub_handle(folder):
            folder = _download(folder, argument)
        if is_saved_model(folder):
            check_no_pattern(folder, argument)
            return folder
        exists = tf.io.gfile.exists(folder)
    except tf.errors.OpError as error:
        raise InputError(
            f"{argument}={handle} cannot be read ({one_line(error)}); check the path and your rights."
        ) from error
    if not exists:
        raise InputError(f"{argument}={handle}: no such directory; {REMEDY}.")
    if is_run_dir(folder):
        raise InputError(
            f"{argument}={handle} is a run directory, not a SavedModel; export it with "
            f"simclr export --run={handle}."
        )
    raise InputError(f"{argument}={handle} is not a SavedModel: it contains no {GRAPHS[0]}; {REMEDY}.")


def _download(handle, argument):
    hub = packages.require("tensorflow_hub")
    try:
        return hub.resolve(handle)
    except Exception as error:  # of the network, of the address, of the archive
        raise InputError(
            f"{argument}={handle} cannot be downloaded ({one_line(error)}); give a folder, or another address."
        ) from error
