"""The only place that knows what a run directory holds. All paths go through tf.io.gfile, so gs:// works too."""

import csv
import dataclasses
import io
import json

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.training.config import differences


class RunDir:
    """A run directory: config.json, result.json, metrics.csv, checkpoints/, tensorboard/, pictures, split.json.

    Args:
        path: local path or any that tf.io.gfile knows; made when missing.

    Raises:
        InputError: the path cannot be made or written.
    """

    def __init__(self, path):
        self.path = str(path).rstrip("/")
        try:
            tf.io.gfile.makedirs(self.path)
        except tf.errors.OpError as error:
            raise InputError(
                f"--model_dir={self.path} cannot be made ({_reason(error)}); give a directory you may write to."
            ) from error

    def file(self, *parts):
        """Path of a file inside the directory."""
        return "/".join((self.path, *parts))

    @property
    def checkpoints(self):
        return self.file("checkpoints")

    @property
    def tensorboard(self):
        return self.file("tensorboard")

    def write_text(self, name, text):
        """Replaces a file as a whole: a reader sees the old or the new one, never half."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name, data):
        """As `write_text`, for bytes."""
        target = self.file(name)
        temporary = target + ".tmp"
        try:
            with tf.io.gfile.GFile(temporary, "wb") as file:
                file.write(data)
            tf.io.gfile.rename(temporary, target, overwrite=True)
        except tf.errors.OpError as error:
            raise InputError(
                f"cannot write {target} ({_reason(error)}); free space or give another --model_dir."
            ) from error

    def read_text(self, name):
        """Returns a file's text, or None where there is none."""
        if not tf.io.gfile.exists(self.file(name)):
            return None
        with tf.io.gfile.GFile(self.file(name), "r") as file:
            return file.read()

    def open_for(self, mode, config):
        """Binds the directory to a stage's config: writes config.json, or checks the one there.

        Raises:
            InputError: the directory belongs to a run with other settings; names the fields that differ.
        """
        text = self.read_text("config.json")
        if text is not None:
            self._check_same(json.loads(text), mode, config)
        values = {"mode": mode, **dataclasses.asdict(config)}
        self.write_text("config.json", json.dumps(values, indent=2) + "\n")

    def _check_same(self, old, mode, config):
        if old.get("mode") != mode:
            raise InputError(
                f"--model_dir={self.path} holds a run of --mode={old.get('mode')}; give another directory."
            )
        changed = differences(old, config)
        if changed:
            listed = ", ".join(f"{name} was {was}, now {now}" for name, was, now, _ in changed)
            raise InputError(
                f"--model_dir={self.path} holds a run with other settings ({listed}); repeat its settings to continue "
                "it, or give another --model_dir to start anew."
            )

    def write_metrics(self, rows, columns):
        """Writes metrics.csv: one row per epoch, empty where a figure was not measured."""
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write_text("metrics.csv", text.getvalue())

    def read_metrics(self):
        """Returns the rows of metrics.csv as dicts of strings; empty when there is none."""
        text = self.read_text("metrics.csv")
        return [] if text is None else list(csv.DictReader(io.StringIO(text)))

    def write_result(self, result):
        self.write_text("result.json", json.dumps(result, indent=2) + "\n")

    def save_figure(self, name, figure):
        """Writes a matplotlib figure as PNG."""
        data = io.BytesIO()
        figure.savefig(data, format="png")
        self.write_bytes(name, data.getvalue())


def _reason(error):
    return (error.message or str(error)).splitlines()[0]
