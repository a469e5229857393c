"""The only place that knows what a run directory holds. All paths go through tf.io.gfile, so gs:// works too."""

import csv
import dataclasses
import io
import itertools
import json
import os
import tempfile

import tensorflow as tf

from simclr_keras.config.modes import config_of_run
from simclr_keras.config.option import differences, may_change
from simclr_keras.errors import InputError, one_line
from simclr_keras.evaluation import plots
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.runs.files import WholeFiles
from simclr_keras.runs.run_lock import RunLock

CONFIG, SPLIT, RESULT, METRICS = "config.json", "split.json", "result.json", "metrics.csv"
CHECKPOINTS, BEST, TENSORBOARD = "checkpoints", "best", "tensorboard"
# What a file holds lists of.
_LISTS = {
    CONFIG: {"class_names": str, "ancestors": dict, "extended_from": int},
    SPLIT: {"class_names": str, "held_out": str, "labeled": str, "held_out_labels": int},
    RESULT: {"ancestors": dict},
}


class RunDir(WholeFiles):
    """A run directory: config.json, result.json, metrics.csv, checkpoints/, best/, tensorboard/,
    pictures, split.json, model.json.

    Nothing is made or written before `open_for`.

    Args:
        path: local path or any that tf.io.gfile knows. flag: name of the one that gave it, for messages.
    """

    def __init__(self, path, flag="model_dir"):
        super().__init__(path, flag, _LISTS)
        self._lock = RunLock(self.path)

    @property
    def checkpoints(self):
        return self.file(CHECKPOINTS)

    @property
    def best(self):
        """Where the checkpoint lies that did best on the evaluation split."""
        return self.file(BEST)

    @property
    def tensorboard(self):
        return self.file(TENSORBOARD)

    def check(self, mode, config):
        """Says whether a stage may run here, without leaving a trace: costs nothing, so it can come first.

        Where there is no checkpoint yet, nothing would be lost: there any settings may follow the ones written down.

        Raises:
            InputError: the path is a file or cannot be written to; the directory is in use by another process, holds
                other things than a run, or a run with other settings (names the fields that differ).
        """
        self.check_path()
        self._lock.check()
        old = self.read_json(CONFIG)
        if old is None:
            # Not ours, yet named as ours: a run would overwrite it.
            for name in (CHECKPOINTS, BEST, TENSORBOARD, METRICS, RESULT):
                if tf.io.gfile.exists(self.file(name)):
                    raise InputError(
                        f"--model_dir={self.path} holds {name} but no {CONFIG}, so it is no run of ours; "
                        "give another directory."
                    )
        elif steps_in(self.checkpoints) or tf.io.gfile.exists(self.file(RESULT)):
            self._check_same(old, mode, config)
        self._check_writable()

    def open_for(self, mode, config):
        """Makes the directory and keeps other processes out of it until `close`.

        Raises:
            InputError: see `check`; or the directory cannot be made or written.
        """
        try:
            tf.io.gfile.makedirs(self.path)
        except tf.errors.OpError as error:
            raise InputError(
                f"--model_dir={self.path} cannot be made ({one_line(error)}); give a directory you may write to."
            ) from error
        self._lock.acquire()
        # Again: it may have become another's meanwhile.
        self.check(mode, config)

    def bind(self, mode, config, **told):
        """Binds the directory to a stage's config: writes config.json, and beside the settings what else is `told`.

        A run that goes on to more epochs than it was started for writes down from how many, under "extended_from":
        up to there it followed the learning rates of the shorter run.
        """
        old = self.read_json(CONFIG) if steps_in(self.checkpoints) else None
        extended_from = self.extended_from() if old else []
        if old and old.get("epochs") != (epochs := getattr(config, "epochs", None)) and epochs:
            extended_from.append(old["epochs"])
        values = {"mode": mode, **dataclasses.asdict(config), **told, "extended_from": extended_from}
        self.write_text(CONFIG, json.dumps(values, indent=2) + "\n")

    def extended_from(self):
        """Returns the numbers of epochs that the run was first meant for, if it went on from them."""
        return list((self.read_json(CONFIG) or {}).get("extended_from") or [])

    def close(self):
        """Lets other processes in."""
        self._lock.release()

    def finished(self, config):
        """Returns the result of a run that has gone all the way `config` asks for, None if it has not.

        A damaged result is none: the end of the run writes it anew.
        """
        try:
            result = self.read_json(RESULT) or {}
        except InputError:
            return None
        whole = result.get("finished") is True and result.get("epochs") == getattr(config, "epochs", None)
        return result if whole else None

    def _check_writable(self):
        if "://" in self.path:  # there it would cost a round trip, and be no proof
            return
        folder = os.path.abspath(self.path)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(
                f"--model_dir={self.path} cannot be written to ({error.strerror}); give a directory you may write to."
            ) from error

    def _check_same(self, old, mode, config):
        if old.get("mode") != mode:
            raise InputError(
                f"--model_dir={self.path} holds a run of --mode={old.get('mode')}; give another directory."
            )
        config_of_run(old, self.file(CONFIG))  # or comparing might meet values of any kind
        changed = differences(old, config)
        if changed:
            listed = ", ".join(f"--{name} was {was}, now {now}" for name, was, now, _ in changed)
            raise InputError(
                f"--model_dir={self.path} holds a run with other settings ({listed}); repeat its settings to continue "
                f"it, or give another --model_dir to start anew. What may change: {may_change(config)}."
            )

    def write_metrics(self, rows, columns):
        """Writes metrics.csv: one row per epoch, empty where a figure was not measured."""
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write_text(METRICS, text.getvalue())

    def read_metrics(self):
        """Returns the rows of metrics.csv as dicts of column to int, float or None; empty when there is none.

        Raises:
            InputError: it is not what `write_metrics` wrote.
        """
        text = self.read_text(METRICS)
        if text is None:
            return []
        try:
            reader = csv.DictReader(io.StringIO(text), strict=True, restval="?")
            if not {"epoch", "step"} <= {*(reader.fieldnames or ())}:
                raise ValueError("it has no columns epoch and step")
            rows = [
                {name: _number(value) for name, value in row.items()}
                | {name: int(row[name]) for name in ("epoch", "step")}
                for row in _whole(reader)
            ]
            if any(row["epoch"] != before["epoch"] + 1 for before, row in itertools.pairwise(rows)):
                raise ValueError("its epochs do not follow each other")
            return rows
        except (csv.Error, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{self.file(METRICS)} is damaged ({one_line(error)}); bring it back, or delete it: the run then goes "
                "on without its rows up to the last checkpoint."
            ) from error

    def write_result(self, result):
        self.write_text(RESULT, json.dumps(result, indent=2) + "\n")

    def save_figure(self, name, figure):
        """Writes a matplotlib figure as PNG."""
        data = io.BytesIO()
        plots.save_figure(figure, data)
        self.write_bytes(name, data.getvalue())


def _whole(reader):
    for number, row in enumerate(reader, 1):
        if "?" in row.values():
            raise ValueError(f"row {number} is cut")
        yield row


def _number(text):
    if text in (None, ""):
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)
