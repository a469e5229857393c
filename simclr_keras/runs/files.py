"""The files of a directory, each read and replaced as a whole, through tf.io.gfile."""

import contextlib
import json

import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.runs.durable import to_disk


class WholeFiles:
    """Files of a directory.

    Args:
        path: local path or any that tf.io.gfile knows. flag: name of the one that gave it, for messages.
        lists: file -> the keys under which its JSON holds None or a list, with the type of the list's values.
    """

    def __init__(self, path, flag="model_dir", lists=None):
        self.path = str(path).rstrip("/") or "/"
        self.flag = flag
        self._lists = lists or {}

    def file(self, *parts):
        """Path of a file inside the directory."""
        return "/".join((self.path, *parts))

    def has(self, name):
        """Whether there is such a file."""
        return tf.io.gfile.exists(self.file(name))

    def write_text(self, name, text):
        """Replaces a file as a whole: a reader sees the old or the new one, never half."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name, data):
        """As `write_text`, for bytes.

        Raises:
            TrainingError: it cannot be written; the old one stays.
        """
        target = self.file(name)
        temporary = target + ".tmp"
        try:
            with tf.io.gfile.GFile(temporary, "wb") as file:
                file.write(data)
            to_disk(temporary)
            tf.io.gfile.rename(temporary, target, overwrite=True)
            to_disk(self.path)
        except (tf.errors.OpError, OSError) as error:
            with contextlib.suppress(tf.errors.OpError):  # half a file would only take up space
                tf.io.gfile.remove(temporary)
            raise TrainingError(
                f"cannot write {target} ({one_line(error)}); free space or mend its rights, then "
                "repeat the command: it continues from the last checkpoint."
            ) from error

    def read_text(self, name):
        """Returns a file's text, or None where there is none.

        Raises:
            InputError: it cannot be read as text.
        """
        data = self.read_bytes(name)
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError as error:
            raise self.damaged(name, error) from error

    def read_bytes(self, name):
        """As `read_text`, for bytes."""
        try:
            if not tf.io.gfile.exists(self.file(name)):
                return None
            with tf.io.gfile.GFile(self.file(name), "rb") as file:
                return file.read()
        except tf.errors.OpError as error:
            raise self.damaged(name, error) from error

    def read_json(self, name):
        """Returns the dict that a file holds, or None where there is no file.

        Raises:
            InputError: it holds something else, or something else than a list where `lists` says so.
        """
        text = self.read_text(name)
        if text is None:
            return None
        try:
            held = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.damaged(name, error) from error
        if not isinstance(held, dict):
            raise self.damaged(name, f"it holds a {type(held).__name__}")
        for key, kind in self._lists.get(name, {}).items():
            value = held.get(key)
            if value is not None and not (
                isinstance(value, list) and all(isinstance(v, kind) for v in value)
            ):
                raise self.damaged(name, f"{key} is {value!r}")
        return held

    def damaged(self, name, why):
        """Returns the InputError of a file that is not what a run wrote."""
        return InputError(
            f"{self.file(name)} is damaged ({one_line(why)}); bring it back, or give another --{self.flag}."
        )

    def check_path(self):
        """Raises InputError where the path is a file, or none that TensorFlow could read checkpoints from."""
        if any(c in self.path for c in "*?[]\\"):
            raise InputError(
                f"--{self.flag}={self.path} holds one of * ? [ ] \\, which TensorFlow takes for a pattern when it "
                "reads checkpoints; give a path without them."
            )
        try:
            if tf.io.gfile.exists(self.path) and not tf.io.gfile.isdir(self.path):
                raise InputError(f"--{self.flag}={self.path} is a file; give a directory.")
        except tf.errors.OpError as error:
            raise InputError(
                f"--{self.flag}={self.path} cannot be looked at ({one_line(error)}); give one that TensorFlow knows."
            ) from error
