"""A batch that cannot be read during training: check the data again and resume from the checkpoint."""

import time
from collections.abc import Callable

import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError, one_line

WAITS = (1, 5, 25)  # seconds before a further attempt: a network drive may come back


class Recovery:
    """Counts failures to read a batch and stops after too many at the same step."""

    def __init__(self, say=print, wait=time.sleep):
        self._say = say
        self._wait = wait
        self._step = None
        self._failures = 0

    def retry(self, error: tf.errors.OpError, step: int, load: Callable[[], None]) -> None:
        """Wait, then load the data again; an InputError of `load` counts as one more failure.

        Several failures at the same step, that of the newest checkpoint, are no progress.

        Raises:
            TrainingError: too many failures at this step.
            tf.errors.OpError: the error itself, if it does not come from the data.
        """
        why = data_failure(error)
        if why is None:
            raise error
        while True:
            self._failures = self._failures + 1 if step == self._step else 1
            self._step = step
            if self._failures > len(WAITS):
                raise TrainingError(
                    f"cannot read a batch, {self._failures} times after step {step} ({why}); checkpoints are kept: "
                    "repair the data, then rerun the same command."
                ) from error
            self._say(f"cannot read a batch ({why}): checking the data again, then resuming from step {step}")
            self._wait(WAITS[self._failures - 1])
            try:
                return load()
            except InputError as unusable:
                why = str(unusable)


def data_failure(error: tf.errors.OpError) -> str | None:
    """Return why a batch could not be read, as one line; None for other errors."""
    message = error.message or ""
    if "IteratorGetNext" not in message and "Iterator::" not in message:
        return None
    return one_line(error)
