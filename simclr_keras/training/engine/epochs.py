"""The steps at which epochs end."""

from simclr_keras.optim.step_arithmetic import total_steps


def epoch_end(epoch: int, num_examples: int, batch_size: int) -> int:
    """Return the step at which an epoch (from 1) ends, which is the length of a run of so many epochs.

    The release ends every epoch after round(num_examples / batch_size) steps, so its last epoch may be missing or cut.
    Here the epochs divide the run evenly.
    """
    return total_steps(num_examples, batch_size, epoch) if epoch > 0 else 0


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
