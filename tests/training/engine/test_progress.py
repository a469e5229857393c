"""What a run says while it goes: the bar on a terminal, a line an epoch, metrics.csv, TensorBoard's curves."""

import io
import re

import pytest

from benchmarks.compare_runs import curves
from simclr_keras.runs.history import History, read_metrics
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.training.engine import progress
from simclr_keras.training.engine.progress import Bar, epoch_line
from tests.training.tiny import make_config

FIGURES = {"contrastive_loss": 3.14159, "contrastive_accuracy": 0.256}
COLUMNS = ("epoch", "step", "learning_rate", "contrastive_loss", "knn_top1")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_rate_time_left_loss_accuracy_and_learning_rate():
    terminal = Terminal()
    bar = Bar("epoch 2/30", total=10, done=0, batch_size=64, file=terminal)
    bar.advance(5)
    bar.show(FIGURES, learning_rate=0.025, seconds_left=3725)
    shown = terminal.getvalue().split("\r")[-1]
    assert shown.startswith("epoch 2/30  50%|")
    assert re.search(r"[\d.]+ images/s, \d\d:\d\d left", shown)
    assert "loss 3.142, acc 25.6%, lr 0.025, run 1:02:05 left" in shown
    bar.close()


def test_the_bar_goes_on_where_a_run_was_resumed():
    terminal = Terminal()
    bar = Bar("epoch 1/2", total=10, done=6, batch_size=64, file=terminal)
    bar.show(FIGURES, 0.1, None)
    shown = terminal.getvalue().split("\r")[-1]
    assert " 60%|" in shown
    assert "run" not in shown
    bar.close()


def test_the_bar_leaves_the_terminal_clean():
    terminal = Terminal()
    bar = Bar("epoch 1/2", total=10, done=0, batch_size=64, file=terminal)
    bar.advance(10)
    bar.close()
    assert not terminal.getvalue().split("\r")[-1].strip()
    assert "\n" not in terminal.getvalue()


def test_a_pipe_sees_no_bar():
    pipe = io.StringIO()
    bar = Bar("epoch 1/2", total=10, done=0, batch_size=64, file=pipe)
    bar.advance(5)
    bar.show(FIGURES, 0.1, 60)
    bar.close()
    assert pipe.getvalue() == ""


@pytest.mark.parametrize(("kind", "seconds"), [(Terminal, 1), (io.StringIO, 10)])
def test_figures_are_due_once_a_second_on_a_terminal_and_rarely_elsewhere(monkeypatch, kind, seconds):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    bar = Bar("epoch 1/2", total=10, done=0, batch_size=64, file=kind())
    assert bar.due()
    now += 0.9 * seconds
    assert not bar.due()
    now += 0.2 * seconds
    assert bar.due()
    bar.close()


def test_an_epochs_line_holds_what_was_measured():
    row = {
        "epoch": 3,
        "step": 30,
        "learning_rate": 0.0123456,
        "contrastive_loss": 5.4321,
        "contrastive_accuracy": 0.5,
        "images_per_second": 745.2,
        "knn_top1": 0.648,
        "probe_top1": None,
    }
    line = epoch_line(row, epochs=30)
    assert line == "epoch  3/30  loss 5.432  contrastive acc 50.0%  lr 0.0123  images/s 745  kNN 64.8%"
    line = epoch_line(row | {"contrastive_loss_of_chance": 8.318}, 30, seconds_left=3725)
    assert "  loss 5.432 (guessing 8.318)  " in line
    assert line.endswith("  kNN 64.8%  1 h 2 min left")


@pytest.fixture
def run_dir(tmp_path):
    run_dir = RunDir(tmp_path / "run")
    run_dir.open_for("pretrain", make_config("digits", "run"))
    return run_dir


def row(epoch, **figures):
    return {"epoch": epoch, "step": 6 * epoch, "learning_rate": 0.1 / epoch, **figures}


def three_epochs(run_dir):
    history = History(run_dir, COLUMNS, 0)
    history.add(row(1, contrastive_loss=3.0))
    history.add(row(2, contrastive_loss=2.0, knn_top1=0.5))
    history.add(row(3, contrastive_loss=1.0))
    history.write()
    history.close()
    return history


def test_tensorboard_shows_one_value_an_epoch_and_none_where_nothing_was_measured(run_dir):
    three_epochs(run_dir)
    found = curves(run_dir.path)
    assert found["contrastive_loss"] == [(6, 3.0), (12, 2.0), (18, 1.0)]
    assert found["knn_top1"] == [(12, 0.5)]
    assert set(found) == set(COLUMNS) - {"epoch", "step"}


def test_rows_are_written_when_it_is_asked_for(run_dir):
    history = History(run_dir, COLUMNS, 0)
    history.add(row(1, contrastive_loss=3.0))
    assert run_dir.read_text("metrics.csv") is None
    assert (history.has(0), history.has(1), history.has(2)) == (False, True, False)
    history.write()
    assert run_dir.read_text("metrics.csv").splitlines()[1] == "1,6,0.1,3.0,"
    assert curves(run_dir.path)["contrastive_loss"] == [(6, 3.0)]


def test_a_resumed_history_is_cut_back_to_its_step(run_dir):
    three_epochs(run_dir)
    # Stopped after epoch 2 was saved, within epoch 3.
    history = History(run_dir, COLUMNS, 15)
    assert [kept["epoch"] for kept in history.rows] == [1, 2]
    assert curves(run_dir.path)["contrastive_loss"] == [(6, 3.0), (12, 2.0)]
    history.add(row(3, contrastive_loss=1.5))
    history.write()
    assert [(line["epoch"], line["contrastive_loss"]) for line in read_metrics(run_dir)] == [
        (1, 3.0),
        (2, 2.0),
        (3, 1.5),
    ]
    assert curves(run_dir.path)["contrastive_loss"] == [(6, 3.0), (12, 2.0), (18, 1.5)]


def test_rows_come_back_as_the_numbers_they_were(run_dir):
    before = three_epochs(run_dir)
    after = History(run_dir, COLUMNS, 18)
    assert after.rows == before.rows
    assert [type(value) for value in after.rows[0].values()] == [int, int, float, float, type(None)]


def test_a_run_begun_anew_forgets_the_rows_there(run_dir):
    three_epochs(run_dir)
    assert History(run_dir, COLUMNS, 0).rows == []
    assert curves(run_dir.path) == {}


def test_the_last_value_is_the_newest_measured(run_dir):
    history = three_epochs(run_dir)
    assert history.last("contrastive_loss") == 1.0
    assert history.last("knn_top1") == 0.5
    assert History(run_dir, COLUMNS, 6).last("knn_top1") is None
