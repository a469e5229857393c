"""The loop: chunks of steps, ends of epochs, the clock, and a stop where the loss is no number."""

import io
import itertools
import math
import time
import types

import pytest
import tensorflow as tf
from tensorflow.python.distribute.values import PerReplica

from simclr_keras.errors import DivergedError, TrainingError
from simclr_keras.training.engine import loop
from simclr_keras.training.engine.learning import Problem
from simclr_keras.training.engine.signals import Stop
from tests import tpu_tracing
from tests.training.fake_loop import STRATEGY, CountingLearner, Recorder, train


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


class SummingLearner:
    """Adds up what it gets on all replicas."""

    def __init__(self):
        self.sum = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)

    def train_step(self, batch):
        self.sum.assign_add(batch)


def test_calls_of_several_steps_draw_their_batches_on_replicas(mirrored):
    with mirrored.scope():
        learner = SummingLearner()
    take_steps = loop.make_step_function(learner, mirrored, Stop())
    data = tf.data.Dataset.range(100, output_type=tf.float32)
    iterator, steps = iter(mirrored.distribute_datasets_from_function(lambda _: data)), 0
    for count in (3, 1, 2):
        assert take_steps(iterator, count) == count
        steps += count
        assert learner.sum.numpy() == sum(range(steps * mirrored.num_replicas_in_sync))


def test_call_of_several_steps_traces_for_tpus():
    """Every draw is a batch of static shape, which XLA needs."""
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        learner = SummingLearner()
    take_steps = loop.make_step_function(learner, strategy, Stop())

    class Iterator:
        def __next__(self):
            return PerReplica([tf.constant(1.0), tf.constant(2.0)])

    call = tf.function(lambda: take_steps(Iterator(), 3))
    graph = call.get_concrete_function().graph.as_graph_def(add_shapes=True)
    assert any(node.op == "AssignAddVariableOp" for node in tpu_tracing.replicated_nodes(graph))
    found = tpu_tracing.findings(graph)
    assert not found.without_kernel
    assert not found.without_shape


def test_a_run_takes_every_step_once_and_in_order():
    seen = []

    class Learner(CountingLearner):
        def train_step(self, batch):
            super().train_step(batch)
            tf.py_function(lambda step: seen.append(int(step)), [batch["step"]], [])

    train(learner=Learner(), steps_per_execution=4)
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


def test_problem_is_named_once_after_the_warm_up_and_before_the_end():
    def lines(**settings):
        events = train(problem_of=lambda row: Problem("bad", f"bad at {row['epoch']}"), **settings).events
        return [line for kind, line in events if kind == "say"]

    bad = ["epoch 1/3", "epoch 2/3", "warning", "epoch 3/3"]
    assert lines(epochs=3, warmup_length=1.0) == bad
    assert lines(epochs=3, warmup_length=2.0) == [line for line in bad if line != "warning"]
    # The default warm-up of a run that --train_steps ends is a share of these steps.
    early = ["epoch 1/3", "warning", "epoch 2/3", "epoch 3/3"]
    assert lines(epochs=60, train_steps=16, warmup_length=3.0) == early
    assert lines(epochs=1) == ["epoch 1/1"]


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


@pytest.mark.parametrize(
    ("every", "expected", "saves"),
    [
        (0, [4, 2, 4, 1], [6, 11]),
        (3, [3, 3, 3, 2], [3, 6, 9, 11]),  # once at step 6, an epoch's end
        (5, [4, 1, 1, 4, 1], [5, 6, 10, 11]),
    ],
)
def test_chunks_end_at_epochs_and_checkpoints(chunks, every, expected, saves):
    recorder = train(steps_per_execution=4, checkpoint_every_steps=every)
    assert chunks == expected
    assert [step for kind, step in recorder.events if kind == "save"] == saves


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
        train(loss=lambda step: math.nan if step == 7 else 1.0, recorder=recorder, checkpoint_every_steps=3)
    assert [event for event in recorder.events if event[0] != "say"] == [("save", 3), ("save", 6), ("row", 6)]


@pytest.mark.parametrize("settings", [{}, {"checkpoint_every_steps": 2}])
def test_weights_that_are_no_numbers_stop_training_though_the_loss_is_fine(settings):
    class Learner(CountingLearner):
        def train_step(self, batch):
            super().train_step(batch)
            self.weight.assign(tf.where(batch["step"] == 7, [1.0, math.inf], self.weight))

    recorder = Recorder()
    with pytest.raises(TrainingError, match="model/weight is no longer finite by step"):
        train(learner=Learner(), recorder=recorder, **settings)
    assert recorder.events[-2:] == [("row", 6), ("say", "epoch 1/2")]


def test_a_checkpoint_is_saved_when_minutes_have_passed(monkeypatch):
    passed = itertools.count(0, 25)  # seconds, at every look at the clock
    clock = types.SimpleNamespace(monotonic=lambda: next(passed), perf_counter=time.perf_counter)
    monkeypatch.setattr(loop, "time", clock)
    saves = [step for kind, step in train(checkpoint_every_minutes=1, epochs=1).events if kind == "save"]
    assert saves == [3, 6]


def test_batches_that_were_skipped_are_counted_and_too_many_in_a_row_stop():
    learner = CountingLearner()
    learner.skipped = (3, 1)
    assert [row["skipped_batches"] for row in train(learner=learner).rows] == [3, 3]
    learner.skipped = (25, 20)
    with pytest.raises(TrainingError, match=r"the last 20 batches were not finite \(25 skipped in all\)"):
        train(learner=learner)


def test_rows_have_the_figures_of_a_loss_scale():
    learner = CountingLearner()
    learner.loss_scale = types.SimpleNamespace(figures=lambda: {"loss_scale": 8.0})
    assert [row["loss_scale"] for row in train(learner=learner).rows] == [8.0, 8.0]


def test_a_checkpoint_whose_network_gives_no_numbers_is_forgotten():
    def evaluate(epoch):
        if epoch == 2:
            raise DivergedError("the network's logits are no longer finite")
        return {}

    recorder = Recorder()
    with pytest.raises(DivergedError):
        train(recorder=recorder, evaluate=evaluate)
    assert recorder.events == [("save", 6), ("row", 6), ("say", "epoch 1/2"), ("save", 11), ("forget", 11)]


def test_rows_that_are_missing_are_said():
    recorder = Recorder()
    train(first_step=8, recorder=recorder)
    assert recorder.events[0] == (
        "say",
        "metrics.csv has no rows of epochs 1 to 1; continuing without them",
    )


@pytest.mark.parametrize(("seconds", "epochs"), [(math.inf, [1, 5]), (0.0, [1, 2, 3, 4, 5])])
def test_fast_epochs_without_evaluation_have_no_lines_but_the_first_and_last(monkeypatch, seconds, epochs):
    monkeypatch.setattr(loop, "LINE_SECONDS", seconds)
    recorder = train(evaluate=None, epochs=5)
    assert [what for kind, what in recorder.events if kind == "say"] == [f"epoch {e}/5" for e in epochs]
    assert [step for kind, step in recorder.events if kind == "row"] == [6, 11, 16, 21, 26]


@pytest.mark.parametrize(("seconds", "steps"), [(math.inf, [21]), (0.0, [6, 11, 16, 21])])
def test_fast_epochs_without_evaluation_share_a_checkpoint(monkeypatch, seconds, steps):
    monkeypatch.setattr(loop, "SAVED_SECONDS", seconds)
    recorder = train(evaluate=None, epochs=4)
    assert [step for kind, step in recorder.events if kind == "save"] == steps
    assert [step for kind, step in recorder.events if kind == "row"] == [6, 11, 16, 21]


@pytest.mark.parametrize(
    ("every", "epochs", "evaluated"),
    [(2, 5, [2, 4, 5]), (0, 5, [1, 2, 3, 4, 5]), (0, 25, [*range(2, 25, 2), 25])],
)
def test_evaluations_are_periodic_and_after_the_last_epoch(every, epochs, evaluated):
    seen = []
    train(
        evaluate=lambda epoch: seen.append(epoch) or {},
        eval_every_epochs=every,
        epochs=epochs,
        train_steps=None,
    )
    assert seen == evaluated
