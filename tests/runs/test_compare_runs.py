"""Two runs are the same when every bit of them is, but for what a clock wrote."""

import json

import keras
import numpy as np
import pytest

from benchmarks.compare_runs import differing
from simclr_keras.errors import InputError
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.runs.history import History
from simclr_keras.runs.run_dir import RunDir

COLUMNS = ("epoch", "step", "loss", "images_per_second")


def make_run(path, weight=1.0, loss=0.5, speed=100.0, epochs=1, top1=0.9, step=6):
    run_dir = RunDir(path)
    Checkpoints(run_dir.checkpoints, {"model/w": keras.Variable(np.float32([weight, 2.0]))}, 3).save(step)
    history = History(run_dir, COLUMNS, 0)
    for epoch in range(1, epochs + 1):
        history.add({"epoch": epoch, "step": 6 * epoch, "loss": loss, "images_per_second": speed})
    history.write()
    history.close()
    run_dir.write_result({"top1": top1, "images_per_second": speed})
    return run_dir.path


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "a")


def test_the_same_run_at_another_speed_is_the_same(run, tmp_path):
    assert differing(run, make_run(tmp_path / "b", speed=50.0)) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"weight": np.nextafter(np.float32(1), np.float32(2))}, ["checkpoint: model/w"]),
        ({"step": 7}, ["checkpoint: step"]),
        ({"loss": 0.5 + 1e-12}, ["metrics.csv: loss"]),
        (
            {"epochs": 2},
            ["metrics.csv: epoch", "metrics.csv: loss", "metrics.csv: step", "TensorBoard: loss"],
        ),
        ({"top1": 0.8}, ["result.json: top1"]),
    ],
    ids=["weight", "step", "row", "rows", "result"],
)
def test_any_other_difference_is_named(run, tmp_path, change, where):
    found = differing(run, make_run(tmp_path / "b", **change))
    assert [line.partition("/.ATTRIBUTES")[0] for line in found] == where


def test_what_one_run_lacks_is_a_difference(run, tmp_path):
    other = make_run(tmp_path / "b")
    RunDir(other).write("result.json", json.dumps({"images_per_second": 1}))
    assert differing(run, other) == ["result.json: top1"]
    assert differing(other, run) == ["result.json: top1"]


def test_a_run_without_a_checkpoint_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="has no checkpoint yet"):
        differing(run, str(tmp_path / "empty"))
