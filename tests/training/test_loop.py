"""The loop: chunks of steps, ends of epochs, the clock, and a stop where the loss is no number."""

import io
import itertools
import math
import os
import signal
import time
import types

import pytest
import tensorflow as tf

from simclr_keras.errors import Stopped, TrainingError
from simclr_keras.optim.step_arithmetic import total_steps
from simclr_keras.training import loop
from simclr_keras.training.stopping import Stop, listening

STRATEGY = tf.distribute.get_strategy()


class CountingLearner:
    """Counts its steps; its loss is the batch, averaged since the last reset."""

    skipped = (0, 0)

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

    def has(self, epoch):
        return any(row["epoch"] == epoch for row in self.rows)

    def save(self, step):
        self.events.append(("save", step))

    def add(self, row):
        self.events.append(("row", row["step"]))
        self.rows.append(row)

    def say(self, line):
        self.events.append(("say", line.split("  ")[0]))


def train(
    first_step=0, loss=lambda step: step, learner=None, recorder=None, stop=None, evaluate=None, **settings
):
    """Runs the loop over batches of 8 that hold their step, with fakes all around it."""
    values = {
        "epochs": 2,
        "batch_size": 8,
        "steps_per_call": 1,
        "checkpoint_steps": 0,
        "checkpoint_minutes": 0,
    }
    values |= settings

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
        evaluate=evaluate or (lambda epoch: {"knn_top1": epoch / 10}),
        stop=stop or Stop(),
        say=recorder.say,
    )
    return recorder


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_call_takes_as_many_steps_as_it_is_told(count):
    learner = CountingLearner()
    take_steps = loop.make_step_function(learner, STRATEGY, Stop())
    data = tf.data.Dataset.range(100).map(lambda step: {"step": step, "loss": 1.0})
    iterator = iter(data)
    assert take_steps(iterator, count) == count
    assert int(learner.steps) == count
    assert take_steps(iterator, 3) == 3
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


def test_a_checkpoint_an_epoch_then_its_row_then_its_line():
    recorder = train()
    assert recorder.events == [
        ("save", 6),
        ("row", 6),
        ("say", "epoch 1/2"),
        ("save", 11),
        ("row", 11),
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

    def recording(*arguments):
        take_steps = real(*arguments)
        return lambda iterator, count: (sizes.append(count), take_steps(iterator, count))[1]

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


def epoch_1():
    """What a run leaves of its first epoch."""
    recorder = Recorder()
    recorder.rows = [{"epoch": 1, "step": 6}]
    return recorder


def test_a_resumed_run_takes_the_steps_that_are_left(chunks):
    recorder = train(first_step=6, recorder=epoch_1())
    assert chunks == [1] * 5
    assert [row["epoch"] for row in recorder.rows] == [1, 2]


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_killed_in_the_evaluation_after_an_epoch_comes_back_to_it(chunks, epoch):
    learner, recorder = CountingLearner(), epoch_1() if epoch == 2 else Recorder()
    learner.sum.assign(30.0)
    learner.count.assign(6.0)
    train(first_step=(0, 6, 11)[epoch], learner=learner, recorder=recorder)
    assert recorder.events[:2] == [("row", (0, 6, 11)[epoch]), ("say", f"epoch {epoch}/2")]
    row = recorder.rows[epoch - 1]
    assert (row["contrastive_loss"], row["knn_top1"], row["images_per_second"]) == (5.0, epoch / 10, None)
    assert len(chunks) == (5 if epoch == 1 else 0)


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
    rows = train(first_step=6, learner=learner, recorder=epoch_1()).rows
    assert rows[1]["contrastive_loss"] == sum(range(6, 11)) / 5


def test_a_finished_run_does_nothing():
    recorder = epoch_1()
    recorder.rows.append({"epoch": 2, "step": 11})
    assert train(first_step=11, recorder=recorder).events == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("bad_step", [2, 5])
def test_a_loss_that_is_no_number_stops_before_row_and_checkpoint(value, bad_step):
    with pytest.raises(TrainingError, match=r"contrastive_loss became (nan|inf) by step 6.*--learning_rate"):
        train(loss=lambda step: value if step == bad_step else 1.0)


def test_checkpoints_before_a_loss_that_is_no_number_are_kept():
    recorder = Recorder()
    with pytest.raises(TrainingError, match="by step 9"):
        train(loss=lambda step: math.nan if step == 7 else 1.0, recorder=recorder, checkpoint_steps=3)
    assert [event for event in recorder.events if event[0] != "say"] == [("save", 3), ("save", 6), ("row", 6)]


@pytest.mark.parametrize("settings", [{}, {"checkpoint_steps": 2}])
def test_weights_that_are_no_numbers_stop_training_though_the_loss_is_fine(settings):
    class Learner(CountingLearner):
        def train_step(self, batch):
            super().train_step(batch)
            self.weight.assign(tf.where(batch["step"] == 7, [1.0, math.inf], self.weight))

    recorder = Recorder()
    with pytest.raises(TrainingError, match="model/weight is no longer finite by step"):
        train(learner=Learner(), recorder=recorder, **settings)
    assert recorder.events[-2:] == [("row", 6), ("say", "epoch 1/2")]


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


class TestStop:
    """A stop that is requested while the learner takes a step."""

    def learner(self, stop, at):
        class Learner(CountingLearner):
            def train_step(self, batch):
                super().train_step(batch)

                def request(step):
                    if step == at:
                        stop.requested = signal.SIGTERM
                        stop._listener()

                tf.py_function(request, [batch["step"]], [])

        return Learner()

    @pytest.mark.parametrize("steps_per_call", [1, 4, 50])
    @pytest.mark.parametrize("at", [0, 2, 7])
    def test_the_step_is_finished_and_saved_and_no_more_are_taken(self, steps_per_call, at):
        stop, recorder = Stop(), Recorder()
        learner = self.learner(stop, at)
        with pytest.raises(Stopped, match=f"SIGTERM: step {at + 1} is saved") as stopped:
            train(learner=learner, recorder=recorder, stop=stop, steps_per_call=steps_per_call)
        assert int(learner.steps) == at + 1
        assert recorder.events[-1] == ("save", at + 1)
        assert stopped.value.code == 143

    def test_at_the_end_of_an_epoch_one_checkpoint_is_enough(self):
        stop, recorder = Stop(), Recorder()
        with pytest.raises(Stopped):
            train(learner=self.learner(stop, 5), recorder=recorder, stop=stop)
        assert recorder.events == [("save", 6)]

    def test_a_signal_while_an_epoch_is_saved_is_not_kept_waiting_by_the_evaluation(self):
        class Slow(Recorder):
            def save(self, step):
                super().save(step)
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)

        recorder = Slow()
        with pytest.raises(Stopped, match="step 6 is saved"), listening() as stop:
            train(recorder=recorder, stop=stop, evaluate=lambda epoch: pytest.fail("it evaluates"))
        assert recorder.events == [("save", 6)]

    @pytest.mark.parametrize("at", [0, 3])
    def test_a_signal_in_the_first_call_of_many_steps_saves_them(self, at):
        def slow_step(step):
            if step == at:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)

        class Learner(CountingLearner):
            def train_step(self, batch):
                super().train_step(batch)
                tf.py_function(slow_step, [batch["step"]], [])

        learner, recorder = Learner(), Recorder()
        with pytest.raises(Stopped, match=r"step \d is saved"), listening() as stop:
            train(learner=learner, recorder=recorder, stop=stop, steps_per_call=50, epochs=1)
        # It may take a step more until the signal is heard.
        assert at < int(learner.steps) <= at + 2
        assert recorder.events == [("save", int(learner.steps))]

    def test_a_signal_while_the_first_step_is_traced_ends_it_there(self):
        class Learner(CountingLearner):
            def train_step(self, batch):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)

        recorder = Recorder()
        with pytest.raises(Stopped, match="nothing was left to save"), listening() as stop:
            train(learner=Learner(), recorder=recorder, stop=stop)
        assert recorder.events == []

    def test_weights_that_are_no_numbers_are_not_saved(self):
        stop, recorder = Stop(), Recorder()
        learner = self.learner(stop, 2)
        learner.weight.assign([math.nan, 1.0])
        with pytest.raises(TrainingError, match="no longer finite by step 3"):
            train(learner=learner, recorder=recorder, stop=stop)
        assert recorder.events == []

    def test_a_signal_ends_the_evaluation_whose_weights_are_saved(self):
        recorder = Recorder()

        def evaluate(epoch):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

        with pytest.raises(Stopped, match="nothing was left to save"), listening() as stop:
            train(recorder=recorder, stop=stop, evaluate=evaluate)
        assert recorder.events == [("save", 6)]


def test_a_checkpoint_is_saved_when_minutes_have_passed(monkeypatch):
    passed = itertools.count(0, 25)  # seconds, at every look at the clock
    clock = types.SimpleNamespace(monotonic=lambda: next(passed), perf_counter=time.perf_counter)
    monkeypatch.setattr(loop, "time", clock)
    saves = [step for kind, step in train(checkpoint_minutes=1, epochs=1).events if kind == "save"]
    assert saves == [3, 6]


def test_batches_that_were_skipped_are_counted_and_too_many_in_a_row_stop():
    learner = CountingLearner()
    learner.skipped = (3, 1)
    assert [row["skipped_batches"] for row in train(learner=learner).rows] == [3, 3]
    learner.skipped = (25, 20)
    with pytest.raises(TrainingError, match=r"the last 20 batches were not finite \(25 skipped in all\)"):
        train(learner=learner)
