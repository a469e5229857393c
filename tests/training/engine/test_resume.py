"""A run that was killed, wherever it was, ends as one that never was, when its command is repeated."""

import json
import os
import pathlib
import signal

import pytest
import tensorflow as tf

from benchmarks.compare_runs import curves, differing
from simclr_keras import files
from simclr_keras.errors import Stopped, TrainingError
from simclr_keras.evaluation import features
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.runs.history import History
from simclr_keras.training.engine import data_recovery, loop
from simclr_keras.training.stages import pretrain
from tests.training.tiny import (
    checkpointed_steps,
    make_config,
    make_tiny,
    metrics,
    result,
    silent,
    write_npz,
)

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

ROOT = pathlib.Path(__file__).parents[3]


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def raise_at(call, real):
    """A method that runs as ever until its call number `call`, and is killed there."""
    calls = 0

    def method(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return real(*args, **kwargs)

    return method


# Where a run is killed: the owner and name of what it was about to do, for which time.
KILLS = {
    "in the middle of epoch 1, a step after a checkpoint": (loop.Bar, "advance", 5),
    "about to save the checkpoint of epoch 1": (Checkpoints, "save", 3),
    "between checkpoint and row of epoch 1": (History, "add", 1),
    "in the evaluation of epoch 1": (features.RepresentationScore, "__call__", 1),
    "in the evaluation of epoch 2": (features.RepresentationScore, "__call__", 2),
    "after the last checkpoint": (pretrain.plots, "curves_figure", 1),
}


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        data = "npz:" + write_npz(folder / "stripes.npz")
        pretrain.run(make_config(data, folder / "run", checkpoint_every_steps=2, baselines=True), say=silent)
    return folder / "run", data


@pytest.mark.parametrize(
    "kill", [next(iter(KILLS)), *(pytest.param(kill, marks=pytest.mark.slow) for kill in list(KILLS)[1:])]
)
def test_a_run_killed_and_repeated_ends_as_one_never_killed(tiny, never_killed, tmp_path, monkeypatch, kill):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_every_steps=2, baselines=True)
    owner, name, call = KILLS[kill]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raise_at(call, getattr(owner, name)))
        with pytest.raises(Killed):
            pretrain.run(config, say=silent)
    assert not (tmp_path / "run" / "result.json").exists()
    lines = []
    pretrain.run(config, say=lines.append)
    assert any("continued at step" in line for line in lines)
    assert not differing(tmp_path / "run", whole)


def test_a_run_killed_again_and_again_ends_as_one_never_killed(tiny, never_killed, tmp_path, monkeypatch):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_every_steps=2, baselines=True)
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(loop.Bar, "advance", raise_at(4, loop.Bar.advance))
            with pytest.raises(Killed):
                pretrain.run(config, say=silent)
    assert checkpointed_steps(tmp_path / "run")[-1] < 11
    pretrain.run(config, say=silent)
    assert not differing(tmp_path / "run", whole)


def test_the_same_settings_give_the_same_weights_however_often_they_are_saved(tiny, never_killed, tmp_path):
    whole, data = never_killed
    pretrain.run(make_config(data, tmp_path / "run", baselines=True, keep_checkpoints=1), say=silent)
    assert not differing(tmp_path / "run", whole)


def test_several_steps_a_call_are_the_same_steps(tiny, never_killed, tmp_path):
    whole, data = never_killed
    pretrain.run(make_config(data, tmp_path / "run", baselines=True, steps_per_execution=4), say=silent)
    assert not differing(tmp_path / "run", whole)


def test_another_seed_is_another_run(tiny, never_killed, tmp_path):
    whole, data = never_killed
    pretrain.run(make_config(data, tmp_path / "run", seed=1), say=silent)
    assert metrics(tmp_path / "run")[0]["contrastive_loss"] != metrics(whole)[0]["contrastive_loss"]


def test_a_finished_run_may_go_on_to_more_epochs(tiny, data, tmp_path):
    folder = tmp_path / "run"
    pretrain.run(make_config(data, folder, eval_every_epochs=2), say=silent)
    first = metrics(folder)
    pretrain.run(make_config(data, folder, eval_every_epochs=2, epochs=3), say=silent)
    rows = metrics(folder)
    assert rows[:2] == first
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "6"), ("2", "11"), ("3", "16")]
    # Every second epoch, and always the last.
    assert [bool(row["knn_top1"]) for row in rows] == [False, True, True]
    # The last epoch follows the schedule of three epochs, which is higher there than two epochs' end.
    assert float(rows[2]["learning_rate"]) > 0
    held = json.loads((folder / "config.json").read_text())
    assert (held["epochs"], held["extended_from"]) == (3, [2])
    assert (result(folder)["epochs"], result(folder)["step"]) == (3, 16)
    assert [step for step, _ in curves(folder)["contrastive_loss"]] == [6, 11, 16]


def test_a_finished_run_returns_at_once_with_the_same_result(tiny, data, tmp_path, monkeypatch):
    config = make_config(data, tmp_path / "run", baselines=True)
    first = pretrain.run(config, say=silent)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*")}

    def not_again(*args, **kwargs):
        raise AssertionError("a finished run trains, evaluates or draws again")

    for owner, name in (
        (pretrain, "make_learner"),
        (pretrain.plots, "curves_figure"),
        (features.Extractor, "__call__"),
    ):
        monkeypatch.setattr(owner, name, not_again)
    assert pretrain.run(config, say=silent) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*")} == written


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_run_stopped_by_a_signal_saves_its_step_and_ends_as_one_never_stopped(
    tiny, never_killed, tmp_path, monkeypatch, number
):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", baselines=True)
    with monkeypatch.context() as patch:
        patch.setattr(loop.Bar, "advance", lambda bar, steps: os.kill(os.getpid(), number))
        with pytest.raises(Stopped, match=f"stopped by {number.name}: step [12] is saved") as stopped:
            pretrain.run(config, say=silent)
    assert stopped.value.code == 128 + number
    (step,) = checkpointed_steps(tmp_path / "run")
    lines = []
    pretrain.run(config, say=lines.append)
    assert any(f"continued at step {step}" in line for line in lines)
    assert not differing(tmp_path / "run", whole)


def test_a_run_whose_newest_checkpoint_is_damaged_ends_as_one_never_killed(
    tiny, never_killed, tmp_path, monkeypatch
):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_every_steps=2, baselines=True)
    with monkeypatch.context() as patch:
        patch.setattr(History, "add", raise_at(2, History.add))
        with pytest.raises(Killed):
            pretrain.run(config, say=silent)
    steps = checkpointed_steps(tmp_path / "run")
    assert steps == [8, 10, 11]
    for step in steps[1:]:
        (tmp_path / "run" / "checkpoints" / f"step-{step}.data-00000-of-00001").write_bytes(b"")
    lines = []
    pretrain.run(config, say=lines.append)
    assert sum("is damaged" in line for line in lines) == 2
    assert any("continued at step 8" in line for line in lines)
    assert not differing(tmp_path / "run", whole)


@pytest.mark.parametrize(("owner", "name"), [(loop, "make_step_function"), (features.Extractor, "__call__")])
def test_too_little_memory_is_one_clear_line(tiny, data, tmp_path, monkeypatch, owner, name):
    def fail(*args):
        lines = (
            "Graph execution error:",
            "",
            "Detected at node MatMul",
            "OOM when allocating tensor",
            "\t [[{{n}}]]",
        )
        raise tf.errors.ResourceExhaustedError(None, None, "\n".join(lines))

    monkeypatch.setattr(owner, name, fail)
    words = r"out of memory with --batch_size=8 \(OOM when allocating tensor\); give a smaller one"
    with pytest.raises(TrainingError, match=words) as error:
        pretrain.run(make_config(data, tmp_path / "run"), say=silent)
    assert "\n" not in str(error.value)


def test_a_stop_is_heard_though_the_data_fails_meanwhile(tiny, data, tmp_path, monkeypatch):
    def fail(iterator, count):
        os.kill(os.getpid(), signal.SIGTERM)
        raise tf.errors.NotFoundError(None, None, "IteratorGetNext: photo.jpg; No such file")

    def make_step_function(learner, strategy, stop):
        stop.nothing_to_save = False
        return fail

    monkeypatch.setattr(loop, "make_step_function", make_step_function)
    monkeypatch.setattr(data_recovery.Recovery, "retry", lambda *given: pytest.fail("it waits"))
    with pytest.raises(Stopped, match="SIGTERM"):
        pretrain.run(make_config(data, tmp_path / "run"), say=silent)


def test_a_run_on_replicas_that_is_stopped_and_damaged_ends_as_one_that_was_not(
    tiny, data, tmp_path, monkeypatch, own_collectives
):
    settings = {"strategy": "mirrored", "checkpoint_every_steps": 2, "on_nan": "skip_batch"}
    pretrain.run(make_config(data, tmp_path / "whole", **settings), say=silent)
    config = make_config(data, tmp_path / "run", **settings)
    for call in (2, 3):
        own_collectives()
        signal_at = raise_at(call, loop.Bar.advance)

        def advance(bar, steps, signal_at=signal_at):
            try:
                signal_at(bar, steps)
            except Killed:
                os.kill(os.getpid(), signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr(loop.Bar, "advance", advance)
            with pytest.raises(Stopped, match="is saved"):
                pretrain.run(config, say=silent)
    own_collectives()
    newest = checkpointed_steps(tmp_path / "run")[-1]
    (tmp_path / "run" / "checkpoints" / f"step-{newest}.index").write_bytes(b"")
    lines = []
    pretrain.run(config, say=lines.append)
    assert any("is damaged" in line for line in lines)
    assert not differing(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("call", ["write", "open"])
def test_a_disk_that_fills_up_stops_the_run_with_its_last_checkpoint_good(
    tiny, never_killed, tmp_path, monkeypatch, call
):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_every_steps=2, baselines=True)
    owner, what, words = {
        "write": (tf.train.Checkpoint, "step-4", "cannot save the checkpoint of step 4"),
        "open": (files._LocalFiles, "metrics.csv", "cannot write .*metrics.csv"),
    }[call]
    real = getattr(owner, call)

    def full(*args, **kwargs):
        if any(what in str(value) for value in args):
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, full)
        with pytest.raises(TrainingError, match=rf"{words}.*No space left.*free space"):
            pretrain.run(config, say=silent)
    pretrain.run(config, say=silent)
    assert not differing(tmp_path / "run", whole)
