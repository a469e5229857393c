"""A folder that is written as a whole: under another name first, and renamed when everything in it is good."""

import contextlib

import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError, one_line

CARD = "card.json"
PARTIAL, OLD = ".partial", ".old"


def check_out(path, overwrite, flag="out"):
    """Says whether an export may be written there, without leaving a trace.

    Args:
        path: of the folder. overwrite: whether an export that is there may be replaced. flag: that gave the path.

    Raises:
        InputError: there is something, and it may not be replaced or is no export.
    """
    try:
        if not tf.io.gfile.exists(path):
            return
        if not tf.io.gfile.isdir(path):
            raise InputError(f"--{flag}={path} is a file; give a folder.")
        names = tf.io.gfile.listdir(path)
    except tf.errors.OpError as error:
        raise InputError(
            f"--{flag}={path} cannot be looked at ({one_line(error)}); give one that TensorFlow knows."
        ) from error
    if names and CARD not in names:
        raise InputError(f"--{flag}={path} holds other things than an export; give another folder.")
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
    path = str(path).rstrip("/")
    partial, old = path + PARTIAL, path + OLD
    if tf.io.gfile.exists(old) and not tf.io.gfile.exists(path):
        tf.io.gfile.rename(old, path)  # of a replacing that was killed between its two renamings
    check(path, overwrite, flag)
    try:
        _remove(partial)  # of an export that was killed
        tf.io.gfile.makedirs(partial)
    except (tf.errors.OpError, OSError) as error:
        raise InputError(
            f"--{flag}={path} cannot be made ({one_line(error)}); give a folder you may write to."
        ) from error
    try:
        yield partial
        check(path, overwrite, flag)  # again: it may have come meanwhile
        _remove(old)
        if tf.io.gfile.exists(path):
            tf.io.gfile.rename(path, old)
        tf.io.gfile.rename(partial, path)
        _remove(old)
    except (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError, OSError) as error:
        raise TrainingError(
            f"cannot write {path} ({one_line(error)}); free space or mend its rights, then repeat the command."
        ) from error
    finally:
        if tf.io.gfile.exists(old) and not tf.io.gfile.exists(path):
            tf.io.gfile.rename(old, path)
        with contextlib.suppress(tf.errors.OpError):
            _remove(partial)


def write_text(path, text):
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(text.encode())


def _remove(path):
    if tf.io.gfile.exists(path):
        tf.io.gfile.rmtree(path)
