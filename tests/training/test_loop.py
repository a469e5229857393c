"""The loop: chunks of steps, ends of epochs, the clock, and a stop where the loss is no number."""

import io
import itertools
import math
import types

import pytest
import tensorflow as tf

from simclr_keras.errors import TrainingError
from simclr_keras.optim.step_arithmetic import total_steps
from simclr_keras.training import loop

STRATEGY = tf.distribute.get_strategy()


class CountingLearner:
    """Counts its steps; its loss is the batch, averaged since the last reset."""

    def __init__(self):
        self.steps = tf.Variable(0, dtype=tf.int64)
        self.last = tf.Variable(-1, dtype=tf.int64)
        self.sum, self.count = tf.Variable(0.0), tf.Variable(0.0)
        self.weight = tf.Variable([1.0, 1.0])

    def train_step(self, batch):
        self.steps.assign_add(1)
        self.last.assign(batch["step"])
        self.sum.assign_add(batch["loss"])
        self.count.assign_add(1.0)

    def state(self):
        return {"model/weight": self.weight, "optimizer/iteration": self.steps}

    def reset_metrics(self):
        self.sum.assign(0.0)
        self.count.assign(0.0)

    def get_metrics_result(self):
        return {"contrastive_loss": self.sum / self.count, "contrastive_accuracy": tf.constant(0.5)}


class Recorder:
    """Stands for Checkpoints, History and say, and writes down in which order they were called."""

    def __init__(self):
        self.events = []
        self.rows = []

    def save(self, step):
        self.events.append(("save", step))

    def add(self, row):
        self.events.append(("row", row["step"]))
        self.rows.append(row)

    def say(self, line):
        self.events.append(("say", line.split("  ")[0]))


def train(first_step=0, loss=lambda step: step, learner=None, recorder=None, **settings):
    """Runs the loop over batches of 8 that hold their step, with fakes all around it."""
    values = {"epochs": 2, "batch_size": 8, "steps_per_call": 1, "checkpoint_steps": 0, **settings}

    def batches(first, count, context):
        steps = tf.range(first, first + count, dtype=tf.int64)
        losses = [float(loss(step)) for step in range(first, first + count)]
        return tf.data.Dataset.from_tensor_slices({"step": steps, "loss": losses})

    recorder = recorder or Recorder()
    loop.train(
        learner or CountingLearner(),
        STRATEGY,
        batches,
        config=types.SimpleNamespace(**values),
        num_examples=40,
        checkpoints=recorder,
        history=recorder,
        schedule=lambda step: step / 100,
        first_step=first_step,
        evaluate=lambda epoch: {"knn_top1": epoch / 10},
        say=recorder.say,
    )
    return recorder


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_call_takes_as_many_steps_as_it_is_told(count):
    learner = CountingLearner()
    take_steps = loop.make_step_function(learner, STRATEGY)
    data = tf.data.Dataset.range(100).map(lambda step: {"step": step, "loss": 1.0})
    iterator = iter(data)
    take_steps(iterator, count)
    assert int(learner.steps) == count
    take_steps(iterator, 3)
    assert int(learner.steps) == count + 3
    assert int(learner.last) == count + 2


@pytest.mark.parametrize("epochs", [1, 2, 7, 800])
@pytest.mark.parametrize(
    ("num_examples", "batch_size"), [(40, 8), (50_000, 512), (1_281_167, 4096), (9, 8), (8, 8)]
)
def test_the_last_epoch_ends_with_the_run_and_none_is_empty(epochs, num_examples, batch_size):
    ends = [loop.epoch_end(epoch, num_examples, batch_size) for epoch in range(epochs + 1)]
    assert ends[0] == 0
    assert ends[-1] == total_steps(num_examples, batch_size, epochs)
    lengths = [end - start for start, end in itertools.pairwise(ends)]
    assert min(lengths) >= 1
    # The first epoch holds the run's one step more; the others share out the images evenly.
    assert max(lengths[1:], default=0) - min(lengths[1:], default=0) <= 1


def test_an_epoch_ends_at_the_same_step_however_long_the_run():
    # So that a run may go on to more epochs.
    assert [loop.epoch_end(e, 40, 8) for e in (1, 2, 3)] == [6, 11, 16]


def test_a_run_takes_every_step_once_and_in_order():
    seen = []

    class Learner(CountingLearner):
        def train_step(self, batch):
            super().train_step(batch)
            tf.py_function(lambda step: seen.append(int(step)), [batch["step"]], [])

    train(learner=Learner(), steps_per_call=4)
    assert seen == list(range(11))


def test_a_row_an_epoch_then_its_checkpoint_then_its_line():
    recorder = train()
    assert recorder.events == [
        ("row", 6),
        ("save", 6),
        ("say", "epoch 1/2"),
        ("row", 11),
        ("save", 11),
        ("say", "epoch 2/2"),
    ]


def test_a_row_holds_means_of_its_epoch_the_last_steps_learning_rate_and_the_evaluation():
    first, second = train().rows
    assert first["contrastive_loss"] == sum(range(6)) / 6
    assert second["contrastive_loss"] == sum(range(6, 11)) / 5
    assert [row["epoch"] for row in (first, second)] == [1, 2]
    assert [row["learning_rate"] for row in (first, second)] == [0.05, 0.1]
    assert [row["knn_top1"] for row in (first, second)] == [0.1, 0.2]


def test_a_terminal_sees_a_bar_an_epoch(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(loop.sys, "stderr", terminal)
    train()
    shown = terminal.getvalue()
    for words in ("epoch 1/2", "epoch 2/2", "images/s", "left", "loss 0.000", "acc 50.0%", "lr 0.01"):
        assert words in shown


@pytest.fixture
def chunks(monkeypatch):
    """The sizes of the calls into the graph."""
    sizes = []
    real = loop.make_step_function

    def recording(learner, strategy):
        take_steps = real(learner, strategy)
        return lambda iterator, count: (sizes.append(count), take_steps(iterator, count))

    monkeypatch.setattr(loop, "make_step_function", recording)
    return sizes


def test_chunks_end_at_epochs(chunks):
    train(steps_per_call=4)
    assert chunks == [4, 2, 4, 1]


def test_chunks_end_at_checkpoints(chunks):
    recorder = train(steps_per_call=4, checkpoint_steps=5)
    assert chunks == [4, 1, 1, 4, 1]
    assert [step for kind, step in recorder.events if kind == "save"] == [5, 6, 10, 11]


def test_a_checkpoint_at_an_epochs_end_is_saved_once():
    saves = [step for kind, step in train(checkpoint_steps=3).events if kind == "save"]
    assert saves == [3, 6, 9, 11]


def test_a_resumed_run_takes_the_steps_that_are_left(chunks):
    recorder = train(first_step=6)
    assert chunks == [1] * 5
    assert [row["epoch"] for row in recorder.rows] == [2]


def test_a_run_resumed_in_an_epoch_keeps_its_averages(chunks):
    learner = CountingLearner()
    learner.sum.assign(0.0 + 1 + 2 + 3)
    learner.count.assign(4.0)
    recorder = train(first_step=4, learner=learner)
    assert len(chunks) == 7
    assert recorder.rows[0]["contrastive_loss"] == sum(range(6)) / 6


def test_a_run_resumed_at_an_epochs_end_starts_its_averages_anew():
    learner = CountingLearner()
    learner.sum.assign(1000.0)
    learner.count.assign(6.0)
    assert train(first_step=6, learner=learner).rows[0]["contrastive_loss"] == sum(range(6, 11)) / 5


def test_a_finished_run_does_nothing():
    assert train(first_step=11).events == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("bad_step", [2, 5])
def test_a_loss_that_is_no_number_stops_before_row_and_checkpoint(value, bad_step):
    with pytest.raises(TrainingError, match=r"contrastive_loss became (nan|inf) by step 6.*--learning_rate"):
        train(loss=lambda step: value if step == bad_step else 1.0)


def test_checkpoints_before_a_loss_that_is_no_number_are_kept():
    recorder = Recorder()
    with pytest.raises(TrainingError, match="by step 9"):
        train(loss=lambda step: math.nan if step == 7 else 1.0, recorder=recorder, checkpoint_steps=3)
    assert [event for event in recorder.events if event[0] != "say"] == [("save", 3), ("row", 6), ("save", 6)]


@pytest.mark.parametrize("settings", [{}, {"checkpoint_steps": 2}])
def test_weights_that_are_no_numbers_stop_training_though_the_loss_is_fine(settings):
    class Learner(CountingLearner):
        def train_step(self, batch):
            super().train_step(batch)
            self.weight.assign(tf.where(batch["step"] == 7, [1.0, math.inf], self.weight))

    recorder = Recorder()
    with pytest.raises(TrainingError, match="model/weight is no longer finite by step"):
        train(learner=Learner(), recorder=recorder, **settings)
    assert recorder.events[-2:] == [("save", 6), ("say", "epoch 1/2")]


class TestClock:
    @pytest.fixture
    def now(self, monkeypatch):
        """A clock that stands still; call it to let seconds pass."""
        passed = [0.0]
        monkeypatch.setattr(loop.time, "perf_counter", lambda: passed[0])
        return lambda seconds: passed.__setitem__(0, passed[0] + seconds)

    def call(self, clock, now, steps, seconds):
        clock.start()
        now(seconds)
        clock.stop(steps)

    def test_images_per_second_leave_out_the_first_call_and_what_lies_between_calls(self, now):
        clock = loop.Clock(batch_size=32)
        self.call(clock, now, 1, 60.0)
        for _ in range(4):
            self.call(clock, now, 1, 0.5)
            now(7.0)
        assert clock.take_rate() == 4 * 32 / 2.0

    def test_calls_of_one_step_and_of_several_trace_each(self, now):
        clock = loop.Clock(batch_size=10)
        self.call(clock, now, 20, 60.0)
        self.call(clock, now, 20, 4.0)
        self.call(clock, now, 1, 60.0)
        self.call(clock, now, 1, 1.0)
        self.call(clock, now, 7, 2.0)
        assert clock.take_rate() == 28 * 10 / 7.0

    def test_every_epoch_is_timed_anew_and_the_run_on_the_whole(self, now):
        clock = loop.Clock(batch_size=10)
        self.call(clock, now, 1, 60.0)
        self.call(clock, now, 1, 1.0)
        clock.take_rate()
        self.call(clock, now, 1, 3.0)
        assert clock.take_rate() == round(10 / 3.0, 1)
        assert clock.left(10) == 20.0

    def test_nothing_timed_is_nothing_known(self, now):
        clock = loop.Clock(batch_size=10)
        assert clock.take_rate() is None
        assert clock.left(10) is None
        self.call(clock, now, 1, 60.0)
        assert clock.take_rate() is None
