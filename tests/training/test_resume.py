"""A run that was killed, wherever it was, ends as one that never was, when its command is repeated."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from simclr_keras.training import evaluate, loop, pretrain
from simclr_keras.training.checkpoints import Checkpoints
from simclr_keras.training.progress import History
from simclr_keras.training.run_dir import RunDir
from tests.training.tiny import (
    assert_same_runs,
    checkpointed_steps,
    create_tiny_model,
    curves,
    make_config,
    metrics,
    result,
    silent,
    write_npz,
)

ROOT = pathlib.Path(__file__).parents[2]


def make_tiny(patch):
    """A network of two layers in place of the ResNet, and pictures that are drawn but not rendered."""
    patch.setattr(pretrain, "create_model", create_tiny_model)
    patch.setattr(RunDir, "save_figure", lambda run_dir, name, figure: run_dir.write_bytes(name, b"drawn"))


@pytest.fixture
def tiny(monkeypatch):
    make_tiny(monkeypatch)


@pytest.fixture
def data(tmp_path):
    return "npz:" + write_npz(tmp_path / "stripes.npz")


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
    "in the evaluation of epoch 1": (evaluate.RepresentationScore, "__call__", 1),
    "in the evaluation of epoch 2": (evaluate.RepresentationScore, "__call__", 2),
    "after the last checkpoint": (pretrain.plots, "curves_figure", 1),
}


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        data = "npz:" + write_npz(folder / "stripes.npz")
        pretrain.run(make_config(data, folder / "run", checkpoint_steps=2, baselines=True), say=silent)
    return folder / "run", data


@pytest.mark.parametrize(
    "kill", [next(iter(KILLS)), *(pytest.param(kill, marks=pytest.mark.slow) for kill in list(KILLS)[1:])]
)
def test_a_run_killed_and_repeated_ends_as_one_never_killed(tiny, never_killed, tmp_path, monkeypatch, kill):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_steps=2, baselines=True)
    owner, name, call = KILLS[kill]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raise_at(call, getattr(owner, name)))
        with pytest.raises(Killed):
            pretrain.run(config, say=silent)
    assert not (tmp_path / "run" / "result.json").exists()
    lines = []
    pretrain.run(config, say=lines.append)
    assert any("continued at step" in line for line in lines)
    assert_same_runs(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_one_never_killed(tiny, never_killed, tmp_path, monkeypatch):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_steps=2, baselines=True)
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(loop.Bar, "advance", raise_at(4, loop.Bar.advance))
            with pytest.raises(Killed):
                pretrain.run(config, say=silent)
    assert checkpointed_steps(tmp_path / "run")[-1] < 11
    pretrain.run(config, say=silent)
    assert_same_runs(tmp_path / "run", whole)


def test_the_same_settings_give_the_same_weights_however_often_they_are_saved(tiny, never_killed, tmp_path):
    whole, data = never_killed
    pretrain.run(make_config(data, tmp_path / "run", baselines=True, keep_checkpoints=1), say=silent)
    assert_same_runs(tmp_path / "run", whole)


def test_several_steps_a_call_are_the_same_steps(tiny, never_killed, tmp_path):
    whole, data = never_killed
    pretrain.run(make_config(data, tmp_path / "run", baselines=True, steps_per_call=4), say=silent)
    assert_same_runs(tmp_path / "run", whole)


def test_another_seed_is_another_run(tiny, never_killed, tmp_path):
    whole, data = never_killed
    pretrain.run(make_config(data, tmp_path / "run", seed=1), say=silent)
    assert metrics(tmp_path / "run")[0]["contrastive_loss"] != metrics(whole)[0]["contrastive_loss"]


def test_a_finished_run_may_go_on_to_more_epochs(tiny, data, tmp_path):
    folder = tmp_path / "run"
    pretrain.run(make_config(data, folder, eval_every=2), say=silent)
    first = metrics(folder)
    pretrain.run(make_config(data, folder, eval_every=2, epochs=3), say=silent)
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
        (evaluate.Extractor, "__call__"),
    ):
        monkeypatch.setattr(owner, name, not_again)
    assert pretrain.run(config, say=silent) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*")} == written


@pytest.mark.slow
def test_a_process_killed_by_the_system_continues_to_the_same_end(tmp_path):
    data = "npz:" + write_npz(tmp_path / "stripes.npz")

    def start(name):
        values = vars(make_config(data, tmp_path / name, checkpoint_steps=1, epochs=3))
        flags = [
            f"--{key}={value}" for key, value in values.items() if value is not None and value is not False
        ]
        command = [sys.executable, "train.py", "--mode=pretrain", *flags]
        return subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    whole = start("whole")
    assert whole.communicate(timeout=600)[0].splitlines()[-1].startswith("done in")
    assert whole.returncode == 0

    killed = start("killed")
    rows = tmp_path / "killed" / "metrics.csv"
    deadline = time.monotonic() + 600
    while not rows.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "result.json").exists()

    again = start("killed")
    said = again.communicate(timeout=600)[0]
    assert again.returncode == 0
    assert "continued at step" in said
    assert_same_runs(tmp_path / "killed", tmp_path / "whole")
