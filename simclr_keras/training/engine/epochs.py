"""Where the epochs of a run end, in steps, and after which of them it is evaluated."""

from simclr_keras.optim.step_arithmetic import total_steps


def epoch_end(epoch, num_examples, batch_size):
    """Step at which an epoch (counted from 1) ends: the length of a whole run of so many epochs.

    The release ends every epoch after round(num_examples / batch_size) steps, so that the last of its epochs may be
    missing or cut; these ends share the run out evenly and the last one is the run's.
    """
    return total_steps(num_examples, batch_size, epoch) if epoch > 0 else 0


EVALUATIONS = 10  # in a run, where --eval_every_epochs does not say


class OnItsTurn:
    """What `loop.train` wants to evaluate with: measures every so many epochs, and after the last.

    Args:
        measure: function of the epoch to a dict of figures; None where there is nothing to measure.
        every: epochs from one turn to the next; 0: ten turns in a run.
        epochs: number of the last.
    """

    def __init__(self, measure, every, epochs):
        self._measure = measure
        self._every = every or max(epochs // EVALUATIONS, 1)
        self._epochs = epochs

    def due(self, epoch):
        return self._measure is not None and (epoch % self._every == 0 or epoch == self._epochs)

    def __call__(self, epoch):
        return self._measure(epoch) if self.due(epoch) else {}


def epoch_ends(config, num_examples):
    """Steps [0, end of epoch 1, ..., end of the run]; --train_steps may end it before its epochs do.

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
