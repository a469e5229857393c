"""The steps at which epochs end, and those of the warm-up."""

from simclr_keras.config.groups.training import WARMUP_SHARE
from simclr_keras.optim import step_arithmetic


def epoch_end(epoch: int, num_examples: int, batch_size: int) -> int:
    """Return the step at which an epoch (from 1) ends, which is the length of a run of so many epochs.

    The release ends every epoch after round(num_examples / batch_size) steps, so its last epoch may be missing or cut.
    Here the epochs divide the run evenly.
    """
    return step_arithmetic.total_steps(num_examples, batch_size, epoch) if epoch > 0 else 0


def epoch_ends(config, num_examples: int) -> list[int]:
    """Return the steps [0, end of epoch 1, ..., end of the run]; --train_steps may end it earlier."""
    ends = [0]
    for epoch in range(1, config.epochs + 1):
        ends.append(epoch_end(epoch, num_examples, config.batch_size))
        if config.train_steps is not None and ends[-1] >= config.train_steps:
            return [*ends[:-1], config.train_steps]
    return ends


def warmup_steps(config, num_examples: int) -> int:
    """Return the steps of the warm-up; by default its share of the run, which --train_steps may end early."""
    steps = step_arithmetic.warmup_steps(num_examples, config.batch_size, config.warmup_length)
    if config.warmup_epochs is None and config.train_steps is not None:
        steps = min(steps, round(WARMUP_SHARE * config.train_steps))
    return steps
