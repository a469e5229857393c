"""The figures of a run by epoch: metrics.csv, and the TensorBoard curves made from it."""

import contextlib
import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.runs.run_files import METRICS, RunFiles

Row = dict[str, Any]  # column -> int, float, or None if it was not measured


class History:
    """The rows of metrics.csv, one for each epoch, and the TensorBoard curves made from them.

    TensorBoard's events are rewritten from the rows when a run resumes, so that a killed run leaves neither gaps nor
    doubles there.

    Args:
        run_dir: the run directory.
        columns: names of the figures; the first two are "epoch" and "step".
        step: step resumed at, 0 for a new run; later rows are dropped.

    Raises:
        InputError: metrics.csv is damaged.
        TrainingError: here and in `write`: a file cannot be written.
    """

    def __init__(self, run_dir: RunFiles, columns: Iterable[str], step: int) -> None:
        self._run_dir = run_dir
        self._columns = tuple(columns)
        self.rows: list[Row] = [
            {name: row.get(name) for name in self._columns}
            for row in read_metrics(run_dir)
            if row["step"] <= step
        ]
        self._written = len(self.rows)
        if not run_dir.writes:
            return
        with self._writing():
            for old in tf.io.gfile.glob(f"{run_dir.tensorboard}/events.out.tfevents.*"):
                tf.io.gfile.remove(old)
            self._writer = tf.summary.create_file_writer(run_dir.tensorboard)
            for row in self.rows:
                self._summarize(row)
            self._writer.flush()

    def add(self, row: Row) -> None:
        """Add the row of an epoch, which `write` writes: epochs may be a step long, and the files are long."""
        self.rows.append({name: row.get(name) for name in self._columns})

    def write(self) -> None:
        """Write the rows that were added since the last call."""
        if not self._run_dir.writes or self._written == len(self.rows):
            return
        write_metrics(self._run_dir, self.rows, self._columns)
        with self._writing():
            for row in self.rows[self._written :]:
                self._summarize(row)
            self._writer.flush()
        self._written = len(self.rows)

    def has(self, epoch: int) -> bool:
        """Return whether there is a row of an epoch; the epochs of all rows follow each other."""
        return bool(self.rows) and self.rows[0]["epoch"] <= epoch <= self.rows[-1]["epoch"]

    def facts(self, figures: Iterable[str]) -> Row:
        """Return what a result contains about training: these figures of the last row, and the speed."""
        row, rates = self.rows[-1], [r["images_per_second"] for r in self.rows if r["images_per_second"]]
        return {
            "step": row["step"],
            "images_per_second": float(np.median(rates)) if rates else None,
            **{name: row[name] for name in figures if row[name] is not None},
            "skipped_batches": row["skipped_batches"],
        }

    def last(self, name: str) -> Any:
        """Return the newest measured value of a column, or None if there is none."""
        return next((row[name] for row in reversed(self.rows) if row[name] is not None), None)

    def close(self) -> None:
        """Close TensorBoard's events."""
        if not self._run_dir.writes:
            return
        with self._writing():
            self._writer.close()

    def _summarize(self, row: Row) -> None:
        with self._writer.as_default(step=int(row["step"])):
            for name, value in row.items():
                if name not in ("epoch", "step") and value is not None:
                    tf.summary.scalar(name, value)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            raise TrainingError(
                f"cannot write {self._run_dir.tensorboard} ({one_line(error)}); free space or change its permissions, "
                "then repeat the command: it continues from the last checkpoint."
            ) from error


def write_metrics(run_dir: RunFiles, rows: Iterable[Row], columns: Iterable[str]) -> None:
    """Write metrics.csv: one row per epoch, empty if a figure was not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    run_dir.write(METRICS, text.getvalue())


def read_metrics(run_dir: RunFiles) -> list[Row]:
    """Return the rows of metrics.csv; empty if there is none.

    Raises:
        InputError: it is not what `write_metrics` wrote.
    """
    text = run_dir.read_text(METRICS)
    if text is None:
        return []
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True, restval="?")
        if not {"epoch", "step"} <= {*(reader.fieldnames or ())}:
            raise ValueError("it has no columns epoch and step")
        rows: list[Row] = [
            {name: _number(value) for name, value in row.items()}
            | {name: int(row[name]) for name in ("epoch", "step")}
            for row in _complete(reader)
        ]
        if any(row["epoch"] != before["epoch"] + 1 for before, row in itertools.pairwise(rows)):
            raise ValueError("its epochs do not follow each other")
        return rows
    except (csv.Error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{run_dir.file(METRICS)} is damaged ({one_line(error)}); restore it, or delete it: the run then "
            "continues without its rows up to the last checkpoint."
        ) from error


def _complete(reader: Iterable[dict[str, str]]) -> Iterator[dict[str, str]]:
    for number, row in enumerate(reader, 1):
        if "?" in row.values():
            raise ValueError(f"row {number} is cut")
        yield row


def _number(text: str) -> int | float | None:
    if text in (None, ""):
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)
