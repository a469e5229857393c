"""Progress of a run: the bar and the line of each epoch; metrics.csv and TensorBoard."""

import contextlib
import sys
import time

import numpy as np
import tensorflow as tf
import tqdm

from simclr_keras.errors import TrainingError, one_line

SHOWN_SECONDS, UNSEEN_SECONDS = 1.0, 10.0  # between two readings of the figures, on a terminal and elsewhere


class Bar:
    """A progress bar for one epoch on a terminal; nothing in a pipe or file, which get `epoch_line` only.

    It shows images/s and the time left of the epoch, loss, accuracy, learning rate, and the time left of the run.

    Args:
        title: text before the bar.
        total, done: steps of the epoch, and those already taken.
        batch_size: images a step, for images/s.
        file: where it is drawn; standard error by default.
    """

    def __init__(self, title, total, done, batch_size, file=None):
        file = file or sys.stderr
        self._bar = tqdm.tqdm(
            total=total * batch_size,
            initial=done * batch_size,
            desc=title,
            unit=" images",
            file=file,
            disable=not file.isatty(),
            leave=False,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}",
        )
        self._batch_size = batch_size
        self._last_read = 0.0

    def advance(self, steps):
        self._bar.update(steps * self._batch_size)

    def due(self):
        """Return whether to read the figures, for the bar and to check that they are finite.

        Not every step, as reading them makes the device wait.
        """
        now = time.monotonic()
        if now - self._last_read < (UNSEEN_SECONDS if self._bar.disable else SHOWN_SECONDS):
            return False
        self._last_read = now
        return True

    def show(self, figures, learning_rate, seconds_left):
        if self._bar.disable:
            return
        left = "" if seconds_left is None else f", run {tqdm.tqdm.format_interval(seconds_left)} left"
        loss = next(figures[name] for name in ("contrastive_loss", "loss") if name in figures)
        accuracy = next(figures[n] for n in ("contrastive_accuracy", "accuracy", "agreement") if n in figures)
        self._bar.set_postfix_str(f"loss {loss:.3f}, acc {accuracy:.1%}, lr {learning_rate:.3g}{left}")

    def close(self):
        self._bar.close()


def epoch_line(row: dict, epochs: int) -> str:
    """Return the line of a finished epoch, for a log file or a terminal."""
    parts = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"]
    named = (
        ("loss", "contrastive_loss", "{:.3f}"),
        ("contrastive acc", "contrastive_accuracy", "{:.1%}"),
        ("loss", "loss", "{:.3f}"),
        ("acc", "accuracy", "{:.1%}"),
        ("agreement", "agreement", "{:.1%}"),
        ("lr", "learning_rate", "{:.3g}"),
        ("images/s", "images_per_second", "{:.0f}"),
        ("kNN", "knn_top1", "{:.1%}"),
        ("probe", "probe_top1", "{:.1%}"),
        ("top-1", "top1", "{:.1%}"),
        ("top-5", "top5", "{:.1%}"),
    )
    parts += [f"{name} {form.format(row[key])}" for name, key, form in named if row.get(key) is not None]
    if row.get("skipped_batches"):
        parts.append(f"skipped batches {row['skipped_batches']}")
    return "  ".join(parts)


class History:
    """The rows of metrics.csv, written at each epoch's end, and the TensorBoard curves made from them.

    TensorBoard's events are rewritten from the rows when a run resumes, so that a killed run leaves neither gaps nor
    doubles there.

    Args:
        run_dir: the RunDir.
        columns: names of the figures; the first two are "epoch" and "step".
        step: step resumed at, 0 for a new run; rows after it are dropped.

    Raises:
        InputError: metrics.csv is damaged.
        TrainingError: here and in `add`: something cannot be written.
    """

    def __init__(self, run_dir, columns, step):
        self._run_dir = run_dir
        self._columns = columns
        self.rows = [
            {name: row.get(name) for name in columns} for row in run_dir.read_metrics() if row["step"] <= step
        ]
        with self._written():
            for old in tf.io.gfile.glob(f"{run_dir.tensorboard}/events.out.tfevents.*"):
                tf.io.gfile.remove(old)
            self._writer = tf.summary.create_file_writer(run_dir.tensorboard)
            for row in self.rows:
                self._summarize(row)
            self._writer.flush()

    def add(self, row):
        """Adds an epoch's row (dict of column to number or None)."""
        row = {name: row.get(name) for name in self._columns}
        self.rows.append(row)
        self._run_dir.write_metrics(self.rows, self._columns)
        with self._written():
            self._summarize(row)
            self._writer.flush()

    def _summarize(self, row):
        with self._writer.as_default(step=int(row["step"])):
            for name, value in row.items():
                if name not in ("epoch", "step") and value is not None:
                    tf.summary.scalar(name, value)

    @contextlib.contextmanager
    def _written(self):
        try:
            yield
        except tf.errors.OpError as error:
            raise TrainingError(
                f"cannot write {self._run_dir.tensorboard} ({one_line(error)}); free space or mend its rights, "
                "then repeat the command: it continues from the last checkpoint."
            ) from error

    def has(self, epoch):
        """Whether an epoch's row is there."""
        return any(row["epoch"] == epoch for row in self.rows)

    def facts(self, figures):
        """What a result tells of how training went: its last row, of which these figures, and its speed."""
        row, rates = self.rows[-1], [r["images_per_second"] for r in self.rows if r["images_per_second"]]
        return {
            "step": row["step"],
            "images_per_second": float(np.median(rates)) if rates else None,
            **{name: row[name] for name in figures if row[name] is not None},
            "skipped_batches": row["skipped_batches"],
        }

    def last(self, name):
        """Returns the newest measured value of a column, None if there is none."""
        return next((row[name] for row in reversed(self.rows) if row[name] is not None), None)

    def close(self):
        with self._written():
            self._writer.close()
