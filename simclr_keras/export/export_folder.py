"""A folder that is written as a whole: under another name first, and renamed when everything in it is good."""

import contextlib
import errno
import json
import os
import re
import time
import uuid

import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.export.formats.names import GRAPH_FILE, INT8_FILE, KERAS_FILE, LITERT_FILE, ONNX_FILE

CARD, FORMAT = "card.json", "simclr_keras export"
# All that an export may hold; a folder with anything else in it is not replaced.
OURS = (
    CARD,
    "README.md",
    GRAPH_FILE,
    "fingerprint.pb",
    "variables",
    "assets",
    KERAS_FILE,
    LITERT_FILE,
    INT8_FILE,
    ONNX_FILE,
)
ABANDONED = 24 * 3600  # seconds: no export is written for so long
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_NO_ROOM_OF_TF = (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError)


def check_out(path, overwrite, flag="out"):
    """Says whether an export may be written there, without leaving a trace.

    Args:
        path: of the folder. overwrite: whether an export that is there may be replaced. flag: that gave the path.

    Raises:
        InputError: there is something, and it may not be replaced or is more than an export.
    """
    try:
        if not tf.io.gfile.exists(path):
            return
        if not tf.io.gfile.isdir(path):
            raise InputError(f"--{flag}={path} is a file; give a folder.")
        names = [name.rstrip("/") for name in tf.io.gfile.listdir(path)]
        others = sorted({*names} - {*OURS}) if _has_our_card(path) else names
    except tf.errors.OpError as error:
        raise InputError(
            f"--{flag}={path} cannot be looked at ({one_line(error)}); give one that TensorFlow knows."
        ) from error
    if others:
        raise InputError(
            f"--{flag}={path} holds other things than an export ({others[0]}); give another folder."
        )
    if names and not overwrite:
        raise InputError(f"--{flag}={path} holds an export already; give another folder, or --overwrite.")


@contextlib.contextmanager
def written_whole(path, overwrite=False, flag="out", check=check_out):
    """Gives the path of an empty folder that takes the place of `path` when the block ends well, and goes if not.

    Args:
        path, overwrite, flag: as in `check_out`. check: what looks whether it may be written, with these arguments.

    Raises:
        InputError: see `check_out`; or the folder cannot be made.
        TrainingError: the disk is full, or the like; what was there stays.
    """
    target = str(path).rstrip("/") or "/"
    if "://" not in target:
        target = os.path.realpath(target)  # of a link the folder is replaced, not the link
    # Names that are nobody else's: two may be writing at once, and "x.old" may be a backup.
    place, name = os.path.split(target)
    partial, old = (f"{place}/.{name}.{what}-{uuid.uuid4().hex[:12]}" for what in ("partial", "old"))
    _tidy(place, name, target)
    check(target, overwrite, flag)
    try:
        tf.io.gfile.makedirs(partial)
    except (tf.errors.OpError, OSError) as error:
        raise InputError(
            f"--{flag}={path} cannot be made ({one_line(error)}); give a folder you may write to."
        ) from error
    try:
        yield partial
        check(target, overwrite, flag)  # again: it may have come meanwhile
        if tf.io.gfile.exists(target):
            tf.io.gfile.rename(target, old)
        tf.io.gfile.rename(partial, target)
    except (tf.errors.OpError, OSError) as error:
        full = isinstance(error, _NO_ROOM_OF_TF) or getattr(error, "errno", None) in _NO_ROOM
        remedy = "; free space or mend its rights, then repeat the command" if full else ""
        raise TrainingError(f"cannot write {path} ({one_line(error)}){remedy}.") from error
    finally:
        if tf.io.gfile.exists(old) and not tf.io.gfile.exists(target):
            tf.io.gfile.rename(old, target)
        for left in (partial, old):
            with contextlib.suppress(tf.errors.OpError):
                if tf.io.gfile.exists(left):
                    tf.io.gfile.rmtree(left)


def write_text(path, text):
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(text.encode())


def _tidy(place, name, target):
    """Undoes what writing that was killed left: the old folder comes back, halves of long ago go."""
    left = re.compile(rf"\.{re.escape(name)}\.(partial|old)-[0-9a-f]{{12}}")
    with contextlib.suppress(tf.errors.OpError):
        for found in sorted(tf.io.gfile.listdir(place or "/")):
            found = found.rstrip("/")
            match, path = left.fullmatch(found), f"{place}/{found}"
            if match and match[1] == "old" and not tf.io.gfile.exists(target):
                tf.io.gfile.rename(path, target)
            elif match and time.time() - tf.io.gfile.stat(path).mtime_nsec / 1e9 > ABANDONED:
                tf.io.gfile.rmtree(path)


def _has_our_card(path):
    try:
        with tf.io.gfile.GFile(f"{path}/{CARD}", "rb") as file:
            return json.loads(file.read()).get("format") == FORMAT
    except (tf.errors.NotFoundError, ValueError, AttributeError):
        return False
