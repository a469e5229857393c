"""Batches that could not be made in mid-run: the data is looked at again, and the run goes on from its checkpoint."""

import time

from simclr_keras.errors import InputError, TrainingError, one_line

WAITS = (1, 5, 25)  # seconds before a further attempt: a network drive may come back


class Recovery:
    """Counts failures of the data, and gives up when there is no way past one.

    Args:
        say: prints a line.
        wait: function of seconds.
    """

    def __init__(self, say=print, wait=time.sleep):
        self._say = say
        self._wait = wait
        self._step = None
        self._failures = 0

    def load_again(self, error, step, load):
        """Waits and loads the data again, so that the run may go on from its checkpoint of `step`.

        Args:
            error: a tf.errors.OpError.
            step: of the newest checkpoint. Failing again and again at the same one is no progress.
            load: function that loads the data; an InputError of its is one more failure.

        Returns:
            what load() returns.

        Raises:
            TrainingError: it has failed there too often.
            tf.errors.OpError: the error itself, where it does not come from the data.
        """
        why = data_failure(error)
        if why is None:
            raise error
        while True:
            self._failures = self._failures + 1 if step == self._step else 1
            self._step = step
            if self._failures > len(WAITS):
                raise TrainingError(
                    f"a batch could not be made, {self._failures} times after step {step} ({why}); what was saved "
                    "until then stays: mend the data, then repeat the command."
                ) from error
            self._say(
                f"a batch could not be made ({why}): looking at the data again, to go on from step {step}"
            )
            self._wait(WAITS[self._failures - 1])
            try:
                return load()
            except InputError as lost:
                why = str(lost)


def data_failure(error):
    """Returns what went wrong while a batch was made, out of TensorFlow's many lines; None for other errors."""
    message = error.message or ""
    if "IteratorGetNext" not in message and "Iterator::" not in message:
        return None
    return one_line(error)
