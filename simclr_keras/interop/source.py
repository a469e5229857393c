"""A file of published weights: which format it is, the shapes in it, and its arrays one by one."""

import os
import re

import numpy as np
import tensorflow as tf

from simclr_keras.config.output_paths import check_no_pattern
from simclr_keras.errors import InputError, one_line
from simclr_keras.files import expand_home
from simclr_keras.interop import tf1_checkpoint, tf2_checkpoint, tf2_saved_model
from simclr_keras.runs.run_files import is_run_dir

_ENDING = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
FORMATS = "give the prefix of a checkpoint, such as model.ckpt-250228, or its folder, or that of a SavedModel"


class Source:
    """A readable file of published weights.

    Args:
        path: prefix of a checkpoint, a folder with one, a SavedModel or a folder with a folder saved_model; local or
            any that tf.io.gfile knows.

    Attributes:
        path: the argument without an ending. prefix: of the checkpoint that holds the arrays.
        form: module of the format. shapes: dict of key to shape, a tuple.

    Raises:
        InputError: one line: the file is missing, of another format, or unreadable.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = _ENDING.sub("", expand_home(path).rstrip("/")) or "/"
        check_no_pattern(self.path, "path")
        try:
            self.prefix, saved_model = _locate(self.path)
            self._reader = tf.compat.v1.train.NewCheckpointReader(self.prefix)
            stored = self._reader.get_variable_to_shape_map()
        except InputError:
            raise
        except Exception as error:  # TensorFlow's reader also raises IndexError, RuntimeError and others
            raise InputError(f"{path} cannot be read ({one_line(error)}); fetch it again.") from error
        self.form = _form(stored, saved_model)
        if self.form is tf2_saved_model:
            self._keys = tf2_saved_model.checkpoint_keys(saved_model)
            apart = stored.keys() - {*self._keys.values(), tf2_checkpoint.GRAPH}
            self._keys |= {key: key for key in apart}  # without a name: reported as unexpected
        else:
            self._keys = {key: key for key in stored}
        self.shapes = {name: tuple(stored[key]) for name, key in self._keys.items() if key in stored}

    def read(self, key: str) -> np.ndarray:
        """Return the array of a key, floats of any width as float32.

        Raises:
            InputError: it cannot be read, is not of floats, has some that float32 cannot hold, or negative variances.
        """
        try:
            value = np.asarray(self._reader.get_tensor(self._keys[key]))
        except Exception as error:  # see above
            raise InputError(
                f"{key} in {self.path} cannot be read ({one_line(error)}); fetch the file again."
            ) from error
        # NumPy does not count bfloat16 among its floats.
        dtype = tf.as_dtype(value.dtype)
        if not dtype.is_floating:
            raise InputError(f"{key} in {self.path} is of {dtype.name}, not of floats; fetch the file again.")
        with np.errstate(over="ignore"):  # refused below
            value = value.astype(np.float32, copy=False)
        if not np.all(np.isfinite(value)):
            raise InputError(f"{key} in {self.path} is not finite in float32; fetch the file again.")
        if "/moving_variance" in key and np.any(value < 0):
            raise InputError(f"{key} in {self.path} has negative variances; fetch the file again.")
        return value

    def step(self) -> int | None:
        """Return the training step in the file, None if there is none."""
        for key in ("global_step", f"global_step{tf2_checkpoint.VALUE}"):
            if key in self.shapes and self.shapes[key] == ():
                return int(self._reader.get_tensor(key))
        return None


def _form(stored, saved_model):
    object_paths = sum(key.endswith(tf2_checkpoint.VALUE) for key in stored)
    if tf2_checkpoint.GRAPH not in stored and 2 * object_paths < len(stored):
        return tf1_checkpoint  # so are the variables of a TF1 hub module
    return tf2_saved_model if saved_model else tf2_checkpoint


def _locate(path):
    """Return (prefix of the checkpoint with the arrays, folder of the SavedModel or None)."""
    exists, is_folder = tf.io.gfile.exists, tf.io.gfile.isdir
    if not is_folder(path):
        if exists(f"{path}.index"):
            return path, None
        what = "is none of the release's formats" if exists(path) else "does not exist"
        raise InputError(f"{path} {what}: {FORMATS}.")
    if exists(f"{path}/saved_model.pb"):
        return f"{path}/variables/variables", path
    names = tf.io.gfile.listdir(path)
    prefixes = [name.removesuffix(".index") for name in names if name.endswith(".index")]
    if prefixes:
        return f"{path}/{_newest(path, prefixes)}", None
    if is_run_dir(path):
        raise InputError(f"{path} is a run directory, not weights of the release: load_run loads it.")
    below = sorted((name.rstrip("/") for name in names if name.rstrip("/").isdecimal()), key=int)
    for name in ("saved_model", *reversed(below)):  # the release's training leaves saved_model/STEP
        if is_folder(f"{path}/{name}"):
            return _locate(f"{path}/{name}")
    raise InputError(f"{path} holds neither a checkpoint nor a SavedModel: {FORMATS}.")


def _newest(path, prefixes):
    """Return the checkpoint that the folder's checkpoint file names, else the one with the highest number."""
    state = tf.train.get_checkpoint_state(path)
    named = state.model_checkpoint_path.rpartition("/")[2] if state else None
    if named in prefixes:
        return named
    return max(prefixes, key=lambda name: (int("0" + (re.findall(r"\d*$", name) or [""])[0]), name))
