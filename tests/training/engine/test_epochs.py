"""Ends of epochs: evenly over the run, or cut by --train_steps."""

import itertools
import types

from simclr_keras.optim.step_arithmetic import total_steps
from simclr_keras.training.engine.epochs import epoch_end, epoch_ends


def settings(train_steps=None, epochs=3):
    return types.SimpleNamespace(epochs=epochs, batch_size=8, train_steps=train_steps)


def test_epochs_divide_the_run_evenly_and_none_is_empty():
    sizes = [(40, 8), (50_000, 512), (1_281_167, 4096), (9, 8), (8, 8)]
    for epochs, (num_examples, batch_size) in itertools.product([1, 2, 7, 800], sizes):
        ends = [epoch_end(epoch, num_examples, batch_size) for epoch in range(epochs + 1)]
        assert ends[0] == 0
        assert ends[-1] == total_steps(num_examples, batch_size, epochs)
        lengths = [end - start for start, end in itertools.pairwise(ends)]
        assert min(lengths) >= 1
        # The first epoch has the one additional step of the run.
        assert max(lengths[1:], default=0) - min(lengths[1:], default=0) <= 1


def test_an_epoch_ends_at_the_same_step_however_long_the_run():
    # So that a run may go on to more epochs.
    assert [epoch_end(e, 40, 8) for e in (1, 2, 3)] == [6, 11, 16]


def test_a_run_ends_after_its_epochs_or_its_steps_whichever_come_first():
    whole = [0, 6, 11, 16]
    for train_steps, ends in (
        (None, whole),
        (1, [0, 1]),
        (6, [0, 6]),
        (7, [0, 6, 7]),
        (16, whole),
        (17, whole),
    ):
        assert epoch_ends(settings(train_steps), 40) == ends
