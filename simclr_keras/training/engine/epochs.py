"""The steps at which epochs end, and the epochs after which a run is evaluated."""

from simclr_keras.optim.step_arithmetic import total_steps


def epoch_end(epoch: int, num_examples: int, batch_size: int) -> int:
    """Return the step at which an epoch (from 1) ends, which is the length of a run of so many epochs.

    The release ends every epoch after round(num_examples / batch_size) steps, so its last epoch may be missing or cut.
    Here the epochs divide the run evenly.
    """
    return total_steps(num_examples, batch_size, epoch) if epoch > 0 else 0


EVALUATIONS = 10  # per run, if --eval_every_epochs is 0


class PeriodicEvaluation:
    """Evaluates every so many epochs, and after the last.

    Args:
        measure: function of the epoch to a dict of scores; None if there is nothing to measure.
        every: epochs between evaluations; 0: ten evaluations in a run.
        epochs: number of the last epoch.
    """

    def __init__(self, measure, every: int, epochs: int):
        self._measure = measure
        self._every = every or max(epochs // EVALUATIONS, 1)
        self._epochs = epochs

    def due(self, epoch: int) -> bool:
        """Return whether an epoch is evaluated."""
        return self._measure is not None and (epoch % self._every == 0 or epoch == self._epochs)

    def __call__(self, epoch: int) -> dict:
        """Return the scores after an epoch; empty if it is not evaluated."""
        return self._measure(epoch) if self.due(epoch) else {}


def epoch_ends(config, num_examples: int) -> list[int]:
    """Return the steps [0, end of epoch 1, ..., end of the run]; --train_steps may end it earlier.

    Args:
        config: has epochs, batch_size, train_steps (None: the epochs decide).
        num_examples: images of an epoch.
    """
    ends = [0]
    for epoch in range(1, config.epochs + 1):
        ends.append(epoch_end(epoch, num_examples, config.batch_size))
        if config.train_steps is not None and ends[-1] >= config.train_steps:
            return [*ends[:-1], config.train_steps]
    return ends
