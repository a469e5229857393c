"""The only place that knows what a run directory holds. All paths go through tf.io.gfile, so gs:// works too."""

import csv
import dataclasses
import io
import json

import tensorflow as tf

from simclr_keras.errors import InputError, reason
from simclr_keras.evaluation import plots
from simclr_keras.training.options import differences

CONFIG, RESULT, METRICS = "config.json", "result.json", "metrics.csv"
CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"


class RunDir:
    """A run directory: config.json, result.json, metrics.csv, checkpoints/, tensorboard/, pictures, split.json.

    Nothing is made or written before `open_for`.

    Args:
        path: local path or any that tf.io.gfile knows.
    """

    def __init__(self, path):
        self.path = str(path).rstrip("/") or "/"

    def file(self, *parts):
        """Path of a file inside the directory."""
        return "/".join((self.path, *parts))

    @property
    def checkpoints(self):
        return self.file(CHECKPOINTS)

    @property
    def tensorboard(self):
        return self.file(TENSORBOARD)

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
                f"cannot write {target} ({reason(error)}); free space or give another --model_dir."
            ) from error

    def read_text(self, name):
        """Returns a file's text, or None where there is none."""
        if not tf.io.gfile.exists(self.file(name)):
            return None
        with tf.io.gfile.GFile(self.file(name), "r") as file:
            return file.read()

    def check(self, mode, config):
        """Says whether a stage may run here, without writing anything: costs nothing, so it can come first.

        Raises:
            InputError: the path is a file, the directory holds other things than a run, or a run with other
                settings (names the fields that differ).
        """
        if tf.io.gfile.exists(self.path) and not tf.io.gfile.isdir(self.path):
            raise InputError(f"--model_dir={self.path} is a file; give a directory.")
        old = self._config()
        if old is not None:
            self._check_same(old, mode, config)
            return
        # Not ours, yet named as ours: a run would overwrite it.
        for name in (CHECKPOINTS, TENSORBOARD, METRICS, RESULT):
            if tf.io.gfile.exists(self.file(name)):
                raise InputError(
                    f"--model_dir={self.path} holds {name} but no {CONFIG}, so it is no run of ours; "
                    "give another directory."
                )

    def open_for(self, mode, config):
        """Makes the directory and binds it to a stage's config: writes config.json, or checks the one there.

        A run that goes on to more epochs than it was started for writes down from how many, under "extended_from":
        up to there it followed the learning rates of the shorter run.

        Raises:
            InputError: see `check`; or the directory cannot be made or written.
        """
        self.check(mode, config)
        try:
            tf.io.gfile.makedirs(self.path)
        except tf.errors.OpError as error:
            raise InputError(
                f"--model_dir={self.path} cannot be made ({reason(error)}); give a directory you may write to."
            ) from error
        old = self._config() or {}
        extended_from = old.get("extended_from", [])
        if old.get("epochs", config.epochs) != config.epochs:
            extended_from = [*extended_from, old["epochs"]]
        values = {"mode": mode, **dataclasses.asdict(config), "extended_from": extended_from}
        self.write_text(CONFIG, json.dumps(values, indent=2) + "\n")

    def finished(self, config):
        """Returns the result of a run that has gone all the way `config` asks for, None if it has not."""
        text = self.read_text(RESULT)
        result = None if text is None else json.loads(text)
        return result if result and result["finished"] and result["epochs"] == config.epochs else None

    def _config(self):
        text = self.read_text(CONFIG)
        if text is None:
            return None
        try:
            return dict(json.loads(text))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.file(CONFIG)} is not the settings of a run ({error}); give another --model_dir."
            ) from error

    def _check_same(self, old, mode, config):
        if old.get("mode") != mode:
            raise InputError(
                f"--model_dir={self.path} holds a run of --mode={old.get('mode')}; give another directory."
            )
        changed = differences(old, config)
        if changed:
            listed = ", ".join(f"--{name} was {was}, now {now}" for name, was, now, _ in changed)
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
        self.write_text(METRICS, text.getvalue())

    def read_metrics(self):
        """Returns the rows of metrics.csv as dicts of strings; empty when there is none."""
        text = self.read_text(METRICS)
        return [] if text is None else list(csv.DictReader(io.StringIO(text)))

    def write_result(self, result):
        self.write_text(RESULT, json.dumps(result, indent=2) + "\n")

    def save_figure(self, name, figure):
        """Writes a matplotlib figure as PNG."""
        data = io.BytesIO()
        plots.save_figure(figure, data)
        self.write_bytes(name, data.getvalue())
