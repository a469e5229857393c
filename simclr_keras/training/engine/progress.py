"""Progress of a run on the screen: the bar and the line of each epoch."""

import sys
import time

import tqdm

from simclr_keras.formatting import duration

SHOWN_SECONDS, UNSEEN_SECONDS = 1.0, 10.0  # between two readings of the figures, on a terminal and elsewhere


class Bar:
    """A progress bar for one epoch on a terminal; nothing in a pipe or file, which get `epoch_line` only.

    It shows images/s and the time left of the epoch, loss, accuracy, learning rate, and the time left of the run.

    Args:
        title: text before the bar.
        total, done: steps of the epoch, and those already taken.
        batch_size: images a step, for images/s.
        hidden: whether it is not drawn on a terminal either.
        file: where it is drawn; standard error by default.
    """

    def __init__(self, title, total, done, batch_size, hidden=False, file=None):
        file = file or sys.stderr
        self._bar = tqdm.tqdm(
            total=total * batch_size,
            initial=done * batch_size,
            desc=title,
            unit=" images",
            file=file,
            disable=hidden or not file.isatty(),
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
        learned = "" if loss is None or accuracy is None else f"loss {loss:.3f}, acc {accuracy:.1%}, "
        self._bar.set_postfix_str(f"{learned}lr {learning_rate:.3g}{left}")

    def close(self):
        self._bar.close()


def epoch_line(row: dict, epochs: int, seconds_left: float | None = None) -> str:
    """Return the line of a finished epoch, for a log file or a terminal.

    `row` is that of metrics.csv; the seconds left are None if they are unknown or the run is over.
    """
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
        ("balanced", "balanced_accuracy", "{:.1%}"),
    )
    for name, key, form in named:
        if row.get(key) is not None:
            chance = row.get(f"{key}_of_chance")
            guessing = "" if chance is None else f" (guessing {form.format(chance)})"
            parts.append(f"{name} {form.format(row[key])}{guessing}")
    if seconds_left is not None:
        parts.append(f"{duration(seconds_left)} left")
    if row.get("skipped_batches"):
        parts.append(f"skipped batches {row['skipped_batches']}")
    return "  ".join(parts)
