"""The folder of an export: which files may be in it, and whether it may be replaced."""

import json
import os

import tensorflow as tf

from simclr_keras.data.files.listing import SYSTEM_FILES
from simclr_keras.errors import InputError, one_line
from simclr_keras.export.formats.names import FILES
from simclr_keras.files import existing_folder, expand_home, is_remote

CARD, FORMAT = "card.json", "simclr_keras export"
# All that an export may hold; a folder with anything else in it is not replaced.
OURS = (CARD, "README.md", "report.html", "fingerprint.pb", "variables", "assets", *FILES)


def check_out(path: str, overwrite: bool) -> None:
    """Raise InputError if a path cannot be written, may not be replaced, or is no export; leave no trace."""
    if not is_remote(path):
        _check_place(path)
    try:
        if not tf.io.gfile.exists(path):
            return
        if not tf.io.gfile.isdir(path):
            raise InputError(f"--out={path} is a file; give a folder.")
        names = [name.rstrip("/") for name in tf.io.gfile.listdir(path)]
        names = [name for name in names if name.lower() not in SYSTEM_FILES]
        others = sorted({*names} - {*OURS}) if _has_our_card(path) else names
    except tf.errors.OpError as error:
        raise InputError(
            f"--out={path} cannot be looked at ({one_line(error)}); give one that TensorFlow knows."
        ) from error
    if others:
        raise InputError(
            f"--out={path} holds other things than an export ({others[0]}); give another folder."
        )
    if names and not overwrite:
        raise InputError(f"--out={path} holds an export already; give another folder, or --overwrite.")


def _check_place(path):
    """Raise InputError if a folder beside a local path, which is written first and takes its place, cannot be made."""
    target = os.path.realpath(expand_home(path))
    if os.path.ismount(target):
        raise InputError(
            f"--out={path} is a mounted folder, which cannot be replaced as a whole; give a folder inside it, such as "
            f"{os.path.join(path, 'export')}."
        )
    parent = existing_folder(os.path.dirname(target))
    if not os.access(parent, os.W_OK):
        raise InputError(f"--out={path}: the folder {parent} is not writable; give a folder in another one.")


def _has_our_card(path):
    try:
        with tf.io.gfile.GFile(f"{path}/{CARD}", "rb") as file:
            return json.loads(file.read()).get("format") == FORMAT
    except (tf.errors.NotFoundError, ValueError, AttributeError):
        return False
