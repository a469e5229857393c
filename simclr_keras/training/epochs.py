"""Where the epochs of a run end, in steps."""

from simclr_keras.optim.step_arithmetic import total_steps


def epoch_end(epoch, num_examples, batch_size):
    """Step at which an epoch (counted from 1) ends: the length of a whole run of so many epochs.

    The release ends every epoch after round(num_examples / batch_size) steps, so that the last of its epochs may be
    missing or cut; these ends share the run out evenly and the last one is the run's.
    """
    return total_steps(num_examples, batch_size, epoch) if epoch > 0 else 0


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
