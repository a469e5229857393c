"""The folder of an export: which files may be in it, and whether it may be replaced."""

import json

import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.export.formats.names import FILES

CARD, FORMAT = "card.json", "simclr_keras export"
# All that an export may hold; a folder with anything else in it is not replaced.
OURS = (CARD, "README.md", "report.html", "fingerprint.pb", "variables", "assets", *FILES)


def check_out(path: str, overwrite: bool) -> None:
    """Raise InputError if a path exists that may not be replaced or is no export; leave no trace."""
    try:
        if not tf.io.gfile.exists(path):
            return
        if not tf.io.gfile.isdir(path):
            raise InputError(f"--out={path} is a file; give a folder.")
        names = [name.rstrip("/") for name in tf.io.gfile.listdir(path)]
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


def _has_our_card(path):
    try:
        with tf.io.gfile.GFile(f"{path}/{CARD}", "rb") as file:
            return json.loads(file.read()).get("format") == FORMAT
    except (tf.errors.NotFoundError, ValueError, AttributeError):
        return False
