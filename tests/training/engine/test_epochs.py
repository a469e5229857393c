"""Where epochs end: shared out evenly over the run, or cut by --train_steps."""

import itertools
import types

import pytest

from simclr_keras.optim.step_arithmetic import total_steps
from simclr_keras.training.engine.epochs import epoch_end, epoch_ends


def settings(train_steps=None, epochs=3):
    return types.SimpleNamespace(epochs=epochs, batch_size=8, train_steps=train_steps)


@pytest.mark.parametrize("epochs", [1, 2, 7, 800])
@pytest.mark.parametrize(
    ("num_examples", "batch_size"), [(40, 8), (50_000, 512), (1_281_167, 4096), (9, 8), (8, 8)]
)
def test_the_last_epoch_ends_with_the_run_and_none_is_empty(epochs, num_examples, batch_size):
    ends = [epoch_end(epoch, num_examples, batch_size) for epoch in range(epochs + 1)]
    assert ends[0] == 0
    assert ends[-1] == total_steps(num_examples, batch_size, epochs)
    lengths = [end - start for start, end in itertools.pairwise(ends)]
    assert min(lengths) >= 1
    # The first epoch holds the run's one step more; the others share out the images evenly.
    assert max(lengths[1:], default=0) - min(lengths[1:], default=0) <= 1


def test_an_epoch_ends_at_the_same_step_however_long_the_run():
    # So that a run may go on to more epochs.
    assert [epoch_end(e, 40, 8) for e in (1, 2, 3)] == [6, 11, 16]


@pytest.mark.parametrize(
    ("train_steps", "ends"),
    [
        (None, [0, 6, 11, 16]),
        (1, [0, 1]),
        (6, [0, 6]),
        (7, [0, 6, 7]),
        (16, [0, 6, 11, 16]),
        (17, [0, 6, 11, 16]),
    ],
)
def test_a_run_ends_after_its_epochs_or_its_steps_whichever_come_first(train_steps, ends):
    assert epoch_ends(settings(train_steps), 40) == ends
